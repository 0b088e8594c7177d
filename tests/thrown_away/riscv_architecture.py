"""An architecture: riscv64, as QEMU's board `virt` and EDK2 have it."""

from pathlib import Path

from imagebuild.architectures.architecture import (
    Architecture,
    BootLoader,
    FirmwareFiles,
    Flash,
    GuestMachine,
)
from imagebuild.kinds import Firmware

RECORD = Architecture(
    name="riscv64",
    debian="riscv64",
    multiarch="riscv64-linux-gnu",
    oci="riscv64",
    elf_machine=243,
    lorax_template="riscv64.tmpl",
    qemu_command="qemu-system-riscv64 -machine virt -m 2048",
    loader=BootLoader(efi="riscv64", platform="riscv64-efi"),
    guest=GuestMachine(
        program="qemu-system-riscv64",
        machine_type="virt",
        console="ttyS0",
        processors={1: "max"},
        screen=("-device", "virtio-gpu-pci"),
        cd=("-device", "usb-storage,drive={id}{more}"),
        tpm="tpm-tis-device",
        firmware={
            Firmware.UEFI: FirmwareFiles(flash=(Flash(Path("/code.fd"), Path("/vars.fd")),), package="none")
        },
    ),
)
