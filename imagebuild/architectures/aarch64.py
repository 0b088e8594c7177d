"""aarch64: servers and clouds of 64-bit Arm, which have UEFI (Arm Base Boot Requirements, SBBR recipe).

QEMU 10.0, docs/system/arm/virt.rst and cpu-features.rst: the board `virt` is what guests of every hypervisor
have; it has no IDE, no PS/2 and no VGA, and a PL011 as its serial line, which Linux calls ttyAMA0.
`pauth-impdef` signs pointers by a quick algorithm instead of the architecture's own, which costs most of an
emulated guest's time otherwise.
"""

from pathlib import Path

from imagebuild.architectures.architecture import (
    Architecture,
    BootLoader,
    FirmwareFiles,
    Flash,
    GuestMachine,
)
from imagebuild.kinds import Firmware

AAVMF = FirmwareFiles(
    # Debian's qemu-efi-aarch64, Fedora's edk2-aarch64 (60-edk2-aarch64.json of both)
    flash=(
        Flash(Path("/usr/share/AAVMF/AAVMF_CODE.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.fd")),
        Flash(
            Path("/usr/share/edk2/aarch64/QEMU_EFI-silent-pflash.raw"),
            Path("/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ),
    ),
    package="apt-get install qemu-efi-aarch64, or dnf install edk2-aarch64",
)
# by Debian's 40-edk2-aarch64-secure-enrolled.json; the board has nothing that locks the variables
AAVMF_SECURE = FirmwareFiles(
    flash=(Flash(Path("/usr/share/AAVMF/AAVMF_CODE.ms.fd"), Path("/usr/share/AAVMF/AAVMF_VARS.ms.fd")),),
    package="apt-get install qemu-efi-aarch64",
)

AARCH64 = Architecture(
    name="aarch64",
    debian="arm64",
    multiarch="aarch64-linux-gnu",
    oci="arm64",
    elf_machine=183,
    lorax_template="aarch64.tmpl",
    qemu_command="qemu-system-aarch64 -machine virt -accel kvm -cpu host -bios QEMU_EFI.fd -m 2048",
    loader=BootLoader(efi="aa64", platform="arm64-efi"),
    guest=GuestMachine(
        program="qemu-system-aarch64",
        machine_type="virt",
        console="ttyAMA0",
        processors={1: "max,pauth-impdef=on"},
        # a screen that firmware and kernel know, and a keyboard for it
        screen=("-device", "virtio-gpu-pci", "-device", "qemu-xhci,id=keys", "-device", "usb-kbd,bus=keys.0"),
        cd=(
            *("-device", "virtio-scsi-pci,id=scsi-{id}"),
            *("-device", "scsi-cd,bus=scsi-{id}.0,drive={id}{more}"),
        ),
        tpm="tpm-tis-device",
        firmware={Firmware.UEFI: AAVMF, Firmware.UEFI_SECURE: AAVMF_SECURE},
    ),
)
