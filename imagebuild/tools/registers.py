"""Where a guest's processors are: what QEMU's monitor says to `info registers -a` (QEMU 7.2,
target/i386/cpu-dump.c).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# the upper half of the address space is the kernel's (Linux, Documentation/arch/x86/x86_64/mm.rst)
KERNEL = 1 << 63
# how far apart two looks at one loop may be
REGION = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Processor:
    """A processor at one moment: at which instruction, and whether it is halted (it waits for an
    interrupt).
    """

    number: int
    address: int
    halted: bool

    @property
    def in_kernel(self) -> bool:
        """Whether a 64-bit kernel runs on it."""
        return self.address >= KERNEL


def read(text: str) -> tuple[Processor, ...]:
    """Return the processors that a dump of the registers shows."""
    processors = []
    for part in re.split(r"^CPU#", text, flags=re.MULTILINE)[1:]:
        number, address, halted = (
            re.match(r"\d+", part),
            re.search(r"\b[ER]IP=([0-9a-f]+)", part),
            re.search(r"\bHLT=([01])", part),
        )
        if number and address and halted:
            processors.append(
                Processor(number=int(number[0]), address=int(address[1], 16), halted=halted[1] == "1")
            )
    return tuple(processors)


def describe(first: Sequence[Processor], second: Sequence[Processor]) -> str:
    """Return a sentence for two looks at the same processors."""
    words = []
    for before, after in zip(first, second, strict=False):
        if before.halted and after.halted:
            words.append(f"processor {before.number} is halted")
        elif abs(before.address - after.address) < REGION:
            words.append(f"processor {before.number} spins near {after.address:#x}")
        else:
            words.append(
                f"processor {before.number} runs, at {before.address:#x}, then at {after.address:#x}"
            )
    return ", ".join(words)


def spinning(first: Sequence[Processor], second: Sequence[Processor]) -> bool:
    """Whether some processor runs at both looks."""
    return any(not before.halted and not after.halted for before, after in zip(first, second, strict=False))
