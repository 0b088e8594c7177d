"""What QEMU knows of each kind of thing in a machine, by name."""

from imagebuild.records import Registry
from imagebuild.tools.qemu import controller, drive, firmware

FIRMWARES = Registry("firmware", firmware.SEABIOS, firmware.EDK2, firmware.EDK2_SECURE)
CONTROLLERS = Registry(
    "storage controller",
    controller.VIRTIO,
    controller.IDE,
    controller.PVSCSI,
    controller.VIRTIO_SCSI,
    controller.NVME_4K,
)
DRIVES = Registry("drive", drive.CD, drive.USB, drive.VIRTIO)
