"""The storage controllers on which an artifact's users have its disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imagebuild.architectures.x86_64 import X86_64
from imagebuild.kinds import Controller, Firmware

DISK = "drive=disk,serial=target,bootindex=1"


@dataclass(frozen=True, kw_only=True)
class ControllerRecord:
    """A controller with the disk `disk` on it, in a machine of QEMU's type `machine_type` (None: the one that
    its architecture's have).

    `replaced` tells what a firmware that has no driver for it gets instead, `arches` which machines have it
    (none: all).
    """

    name: str
    argv: tuple[str, ...]
    machine_type: str | None = None
    replaced: Mapping[Firmware, tuple[str, ...]] = field(default_factory=dict)
    arches: frozenset[str] = frozenset()

    def argv_under(self, firmware: Firmware) -> list[str]:
        """Return QEMU's options for the controller in a machine with a firmware."""
        return list(self.replaced.get(firmware, self.argv))

    def reason_not_in(self, arch: str) -> str | None:
        """Return why machines of an architecture do not have it; None when they may."""
        if self.arches and arch not in self.arches:
            return f"no machine of {arch} has a disk on {self.name}"
        return None

    def reason_not_under(self, firmware: Firmware, *, needs_smm: bool) -> str | None:
        """Return why machines with it do not have a firmware; None when they may."""
        # of x86's types only q35, which is the architecture's, has a chip set that OVMF can lock its
        # variables with (OVMF's README, "SMM support")
        if needs_smm and self.machine_type is not None:
            return (
                f"a disk on {self.name} belongs to a machine of QEMU's type {self.machine_type}, whose chip"
                f" set has no System Management Mode: no firmware can keep Secure Boot's keys there"
                f" ({firmware})"
            )
        return None


VIRTIO = ControllerRecord(name=Controller.VIRTIO, argv=("-device", f"virtio-blk-pci,{DISK}"))
# VirtualBox and its boxes have a PIIX chip set
IDE = ControllerRecord(
    name=Controller.IDE,
    argv=("-device", f"ide-hd,bus=ide.0,{DISK}"),
    machine_type="pc",
    arches=frozenset({X86_64.name}),
)
# QEMU's UEFI has no driver for VMware's pvscsi, so its users' other choice is tested there: SATA, which is
# what ide.0 of a q35 is
PVSCSI = ControllerRecord(
    name=Controller.PVSCSI,
    argv=("-device", "pvscsi,id=scsi", "-device", f"scsi-hd,bus=scsi.0,{DISK}"),
    replaced={Firmware.UEFI: IDE.argv, Firmware.UEFI_SECURE: IDE.argv},
    arches=frozenset({X86_64.name}),
)
# a disk whose logical blocks have 4096 bytes ("4Kn"), as of servers; no BIOS boots from one
NVME_4K = ControllerRecord(
    name=Controller.NVME_4K,
    argv=("-device", f"nvme,{DISK},logical_block_size=4096,physical_block_size=4096"),
)
# Compute Engine's, and of much of OpenStack
VIRTIO_SCSI = ControllerRecord(
    name=Controller.VIRTIO_SCSI,
    argv=("-device", "virtio-scsi-pci,id=scsi", "-device", f"scsi-hd,bus=scsi.0,{DISK}"),
)
