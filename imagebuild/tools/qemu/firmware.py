"""The firmwares that start a guest's boot loader: what QEMU is given for each, and its digest."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import MissingToolError
from imagebuild.kinds import Firmware
from imagebuild.tools.elsewhere import other_machine
from imagebuild.tools.qemu.option import escape


@dataclass(frozen=True)
class Flash:
    """Two files of a firmware in flash memory: its code, and the variables that a new machine begins with."""

    code: Path
    variables: Path


@dataclass(frozen=True, kw_only=True)
class FirmwareRecord:
    """What a firmware is for QEMU: `flash` are the places where distributions have its files (without any it
    comes with QEMU); `package` says how those are installed.

    `has_text_screen`: what its boot loaders write is in the text memory of a VGA card. `needs_smm`: only
    code in System Management Mode may write its variables, which a guest could change otherwise.
    """

    name: str
    title: str
    flash: tuple[Flash, ...] = ()
    package: str = ""
    has_text_screen: bool = False
    needs_smm: bool = False

    def find_flash(self) -> Flash | None:
        """Return the files of this machine; None when it comes with QEMU. Raises MissingToolError."""
        for flash in self.flash:
            if flash.code.exists() and flash.variables.exists():
                return flash
        if self.flash:
            raise MissingToolError(f"{self.title} for QEMU is not installed", hint=self.package)
        return None

    def digest(self) -> str:
        """Return a sha256 of the files that guests are started with; of what comes with QEMU, its version
        says enough. While keys are made for another machine: of its files.
        """
        there = other_machine()
        if there is not None:
            return there.value(f"firmware {self.name}")
        flash = self.find_flash()
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
OVMF = FirmwareRecord(
    name=Firmware.UEFI,
    title="UEFI firmware",
    # Debian's ovmf, Fedora's edk2-ovmf, Arch's edk2-ovmf
    flash=(
        Flash(Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
        Flash(Path("/usr/share/edk2/ovmf/OVMF_CODE.fd"), Path("/usr/share/edk2/ovmf/OVMF_VARS.fd")),
        Flash(Path("/usr/share/edk2/x64/OVMF_CODE.4m.fd"), Path("/usr/share/edk2/x64/OVMF_VARS.4m.fd")),
    ),
    package="apt-get install ovmf, or dnf install edk2-ovmf",
)
# with the keys of Microsoft enrolled, as machines are sold; by 40-*-enrolled.json of QEMU's firmware
# descriptors (firmware.json of its interop documents: secure-boot, enrolled-keys, requires-smm)
OVMF_SECURE = FirmwareRecord(
    name=Firmware.UEFI_SECURE,
    title="UEFI firmware with Secure Boot and enrolled keys",
    # Debian's ovmf, Fedora's edk2-ovmf
    flash=(
        Flash(Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")),
        Flash(
            Path("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd"),
            Path("/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
        ),
    ),
    package="apt-get install ovmf, or dnf install edk2-ovmf",
    needs_smm=True,
)
