"""Programs of another architecture on this machine: whether its kernel hands them to an emulator (qemu-user).

Linux, Documentation/admin-guide/binfmt-misc.rst: each file of that file system tells one kind of programs by
magic and mask. With the flag F the kernel has opened the emulator when it was registered, so that it is there
in every namespace and root directory; without it, it would be looked for inside of the tree.
"""

import contextlib
import re
import struct
from pathlib import Path

from imagebuild.architectures.registry import ARCHITECTURES, builder_architecture
from imagebuild.errors import BuildError

BINFMT = Path("/proc/sys/fs/binfmt_misc")
HINT = (
    "use a machine of that architecture, or register an emulator: apt-get install qemu-user-static, or dnf"
    " install qemu-user-static; then systemctl restart systemd-binfmt"
)
# elf(5): 64 bits, little endian, version 1, for any system; an executable
IDENTIFICATION, EXECUTABLE = b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), 2


def reason_not_to_run(arch: str) -> str | None:
    """Return why this machine cannot run programs of an architecture; None when it can."""
    if arch == builder_architecture():
        return None
    if arch not in ARCHITECTURES:
        return f"nothing is known of programs for {arch}"
    if not (BINFMT / "status").exists():
        return f"it runs no programs for {arch}: {BINFMT} is not mounted"
    head = _head(arch)
    found = [flags for text in _registered() if (flags := _flags_of(text, head)) is not None]
    if not found:
        return f"it runs no programs for {arch}: no emulator is registered for them"
    if not any("F" in flags for flags in found):
        return f"its emulator for {arch} is registered without the flag F: inside of a tree it is not found"
    return None


def check(arch: str, whose: str) -> None:
    """Raise BuildError when this machine cannot run somebody's programs, which are of an architecture."""
    if (reason := reason_not_to_run(arch)) is not None:
        raise BuildError(f"{whose} are for {arch}, and this machine cannot run them: {reason}", hint=HINT)


def _head(arch: str) -> bytes:
    return IDENTIFICATION + struct.pack("<HH", EXECUTABLE, ARCHITECTURES[arch].elf_machine)


def _registered() -> list[str]:
    texts = []
    for file in sorted(BINFMT.iterdir()):
        if file.name not in ("register", "status"):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                texts.append(file.read_text())
    return texts


def _flags_of(text: str, head: bytes) -> str | None:
    """Return the flags of an emulator that takes programs which begin so; None for one that does not."""
    fields = dict(re.findall(r"^(flags:|offset|magic|mask) ?(.*)$", text, re.MULTILINE))
    if not text.startswith("enabled") or "magic" not in fields:
        return None
    try:
        magic = bytes.fromhex(fields["magic"])
        mask = bytes.fromhex(fields["mask"]) if "mask" in fields else b"\xff" * len(magic)
        offset = int(fields.get("offset", "0"))
    except ValueError:
        return None
    part = head[offset : offset + len(magic)]
    same = len(part) == len(magic) and all(
        one & bits == other & bits for one, other, bits in zip(part, magic, mask, strict=False)
    )
    return fields.get("flags:", "") if same else None
