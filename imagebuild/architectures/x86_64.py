"""x86_64: personal computers and servers, with BIOS or UEFI."""

from pathlib import Path

from imagebuild.architectures.architecture import (
    Architecture,
    BootLoader,
    FirmwareFiles,
    Flash,
    GuestMachine,
)
from imagebuild.kinds import Firmware

OVMF = FirmwareFiles(
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
OVMF_SECURE = FirmwareFiles(
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
# The models that cost least under emulation, by the x86-64 level that a tree needs (measured: docs/guests.md,
# `make bench`). `max` switches on five-level page tables, which the kernel then walks, emulated.
PROCESSORS = {
    1: "Nehalem,vendor=AuthenticAMD,+erms",
    2: "Nehalem,vendor=AuthenticAMD,+erms",
    3: "max,la57=off",
}

X86_64 = Architecture(
    name="x86_64",
    debian="amd64",
    multiarch="x86_64-linux-gnu",
    oci="amd64",
    elf_machine=62,
    lorax_template="x86.tmpl",
    qemu_command="qemu-system-x86_64 -accel kvm -m 2048",
    loader=BootLoader(
        efi="x64",
        platform="x86_64-efi",
        bios="i386-pc",
        own_serial=True,
    ),
    guest=GuestMachine(
        program="qemu-system-x86_64",
        machine_type="q35",
        console="ttyS0,115200n8",
        processors=PROCESSORS,
        screen=("-vga", "std"),
        cd=("-device", "ide-cd,drive={id}{more}"),
        tpm="tpm-crb",
        firmware={
            Firmware.BIOS: FirmwareFiles(),
            Firmware.UEFI: OVMF,
            Firmware.UEFI_SECURE: OVMF_SECURE,
        },
    ),
)
