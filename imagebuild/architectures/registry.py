"""All architectures, by name."""

import os
import struct
from collections.abc import Mapping

from imagebuild.architectures.aarch64 import AARCH64
from imagebuild.architectures.architecture import Architecture, BootLoader, GuestMachine
from imagebuild.architectures.ppc64le import PPC64LE
from imagebuild.architectures.x86_64 import X86_64
from imagebuild.errors import BuildError
from imagebuild.records import Registry

ARCHITECTURES = Registry("architecture", X86_64, AARCH64, PPC64LE)
# those that images are built of and tested on
BUILT: Mapping[str, Architecture] = {name: known for name, known in ARCHITECTURES.items() if known.is_built}
# where nobody says
DEFAULT = X86_64.name
# elf(5): the identification, then e_type and e_machine
ELF_HEAD = 20


def loader_of(name: str) -> BootLoader:
    """Return what machines of an architecture boot with. Raises BuildError where that is not known."""
    loader = BUILT[name].loader if name in BUILT else None
    if loader is None:
        raise _not_built(name)
    return loader


def guest_of(name: str) -> GuestMachine:
    """Return how a guest of an architecture is run. Raises BuildError where that is not known."""
    guest = BUILT[name].guest if name in BUILT else None
    if guest is None:
        raise _not_built(name)
    return guest


def _not_built(name: str) -> BuildError:
    known = "only names are known of it" if name in ARCHITECTURES else "nothing is known of it"
    return BuildError(
        f"nothing can be built for the architecture {name}: {known}",
        hint=f"there are: {', '.join(BUILT)}; docs/architectures.md says how to add one",
    )


def builder_architecture() -> str:
    """Return the architecture of the machine that this runs on, as uname(2) has it."""
    return os.uname().machine


def of_program(head: bytes) -> str | None:
    """Return the architecture of a program by its first ELF_HEAD bytes; None for what is not a program, or
    of an architecture without a record.
    """
    if head[:4] != b"\x7fELF" or len(head) < ELF_HEAD:
        return None
    # those with records are little endian
    (machine,) = struct.unpack_from("<H", head, 18)
    return next((name for name, known in ARCHITECTURES.items() if known.elf_machine == machine), None)


def qemu_command(name: str) -> str:
    """Return how a person begins to start a guest of an architecture."""
    return ARCHITECTURES[name].qemu_command if name in ARCHITECTURES else f"qemu-system-{name} -m 2048"


def oci_name(name: str) -> str:
    """Return what container images call an architecture; its own name where there is no record."""
    return ARCHITECTURES[name].oci if name in ARCHITECTURES else name
