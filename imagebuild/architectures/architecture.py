"""What is known of an architecture: a record, with what is only known of those that are built and tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.kinds import Firmware


@dataclass(frozen=True)
class Flash:
    """Two files of a firmware in flash memory: its code, and the variables that a new machine begins with."""

    code: Path
    variables: Path


@dataclass(frozen=True, kw_only=True)
class FirmwareFiles:
    """A firmware of guests: `flash` are the places where distributions have it (none: it comes with QEMU),
    `package` says how it is installed.

    `needs_smm`: only code in System Management Mode may write its variables, which a guest could change
    otherwise.
    """

    flash: tuple[Flash, ...] = ()
    package: str = ""
    needs_smm: bool = False


@dataclass(frozen=True, kw_only=True)
class BootLoader:
    """What machines boot with. `efi` is the word of the architecture in the names of UEFI's programs (UEFI
    2.10, 3.5.1.1, "Removable Media Boot Behavior"), `platform` GRUB's for UEFI, `bios` that for BIOS (None:
    there are no such machines).

    `own_serial`: GRUB has a driver of its own for the serial line; elsewhere it writes there through the
    firmware, whose console that is.
    """

    efi: str
    platform: str
    bios: str | None = None
    own_serial: bool = False

    @property
    def cpu(self) -> str:
        """GRUB's name for the processor, `$grub_cpu`."""
        return self.platform.partition("-")[0]

    @property
    def removable(self) -> str:
        """The program below EFI/BOOT that firmware starts from any disk."""
        return f"BOOT{self.efi.upper()}.EFI"

    @property
    def shim(self) -> str:
        """Shim, in a vendor's directory."""
        return f"shim{self.efi}.efi"

    @property
    def grub(self) -> str:
        """GRUB, beside shim (shim.c, DEFAULT_LOADER)."""
        return f"grub{self.efi}.efi"

    @property
    def medium(self) -> str:
        """GRUB for CDs, as Debian and Fedora call it."""
        return f"gcd{self.efi}.efi"

    @property
    def key_manager(self) -> str:
        """Shim's MokManager."""
        return f"mm{self.efi}.efi"

    @property
    def fallback(self) -> str:
        """Shim's program that makes boot entries."""
        return f"fb{self.efi}.efi"

    @property
    def entry_list(self) -> str:
        """The list that `fallback` reads (shim, README.fallback)."""
        return f"BOOT{self.efi.upper()}.CSV"


@dataclass(frozen=True, kw_only=True)
class GuestMachine:
    """A guest of an architecture in QEMU: the program, its machine type, and what is on that.

    `console` is the serial line, as Linux names it, with its speed where it needs one. `processors`: QEMU's
    model for an emulated guest, by the level of the instruction set that a tree needs (tools/isa.py; 1 where
    there are no levels). `screen` and `cd` are QEMU's options, `{id}` and `{more}` as in tools/qemu/drive.py;
    `tpm` is the device of a TPM. `firmware`: what there is, with its files.
    """

    program: str
    machine_type: str
    console: str
    processors: Mapping[int, str]
    screen: tuple[str, ...]
    cd: tuple[str, ...]
    tpm: str
    firmware: Mapping[Firmware, FirmwareFiles]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An architecture by the name that productmd, RPM and uname(1) have for it.

    `debian` is dpkg's name, `multiarch` the directory of its libraries there, `oci` that of container images
    (GOARCH), `elf_machine` the number in programs (elf(5), e_machine), `lorax_template` lorax's own for its
    media (pylorax.treebuilder, templatemap), `qemu_command` how a person begins to start a guest of it.
    `loader` and `guest` are None where only names are known.
    """

    name: str
    debian: str
    multiarch: str
    oci: str
    elf_machine: int
    lorax_template: str
    qemu_command: str
    loader: BootLoader | None = None
    guest: GuestMachine | None = None

    @property
    def is_built(self) -> bool:
        """Whether images of it are built and tested."""
        return self.loader is not None and self.guest is not None
