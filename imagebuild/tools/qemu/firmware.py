"""The firmwares that start a guest's boot loader: what QEMU is given for each, and its digest. Their files
are the architecture's (architectures/).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from imagebuild.architectures.architecture import FirmwareFiles, Flash
from imagebuild.architectures.registry import guest_of
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Firmware
from imagebuild.tools.qemu.option import escape


@dataclass(frozen=True, kw_only=True)
class FirmwareRecord:
    """What a firmware is for QEMU. `has_text_screen`: what its boot loaders write is in the text memory of a
    VGA card. `in_flash`: it is kept in flash memory, with variables that last; otherwise it comes with QEMU.
    """

    name: str
    title: str
    has_text_screen: bool = False
    in_flash: bool = False

    def reason_not_of(self, arch: str) -> str | None:
        """Return why machines of an architecture do not have it; None when they may."""
        there = guest_of(arch).firmware
        return None if self.name in there else f"machines of {arch} have no {self.title}"

    def files(self, arch: str) -> FirmwareFiles:
        """Return its files for guests of an architecture. Raises BuildError where machines do not have it."""
        there = guest_of(arch).firmware
        if (reason := self.reason_not_of(arch)) is not None:
            raise BuildError(reason, hint=f"they have: {', '.join(there)}")
        return there[Firmware(self.name)]

    def needs_smm(self, arch: str) -> bool:
        """Whether only code in System Management Mode may write its variables."""
        return self.files(arch).needs_smm

    def find_flash(self, arch: str) -> Flash | None:
        """Return the files that this machine has for an architecture; None when it comes with QEMU. Raises
        MissingToolError.
        """
        files = self.files(arch)
        for flash in files.flash:
            if flash.code.exists() and flash.variables.exists():
                return flash
        if files.flash:
            raise MissingToolError(f"{self.title} for QEMU is not installed", hint=files.package)
        return None

    def digest(self, arch: str) -> str:
        """Return a sha256 of the files that guests are started with; of what comes with QEMU, its version
        says enough.
        """
        flash = self.find_flash(arch)
        files = (flash.code, flash.variables) if flash is not None else ()
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def flash_argv(flash: Flash, variables: Path, *, smm: bool = False) -> list[str]:
    """Return QEMU's options for a firmware in flash memory, its variables kept in a qcow2 file.

    `smm`: the flash answers System Management Mode only, and the guest cannot sleep (OVMF's README, "SMM
    support": S3 would need the firmware's own help).
    """
    return [
        *(SMM_ONLY if smm else ()),
        *["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={escape(flash.code)}"],
        *["-drive", f"if=pflash,unit=1,format=qcow2,file={escape(variables)}"],
    ]


SMM_ONLY = (
    "-global", "driver=cfi.pflash01,property=secure,value=on",
    "-global", "ICH9-LPC.disable_s3=1",
)  # fmt: skip
SEABIOS = FirmwareRecord(name=Firmware.BIOS, title="BIOS firmware", has_text_screen=True)
EDK2 = FirmwareRecord(name=Firmware.UEFI, title="UEFI firmware", in_flash=True)
EDK2_SECURE = FirmwareRecord(
    name=Firmware.UEFI_SECURE, title="UEFI firmware with Secure Boot and enrolled keys", in_flash=True
)
