"""The kinds of drives that a machine may have besides its disk."""

from collections.abc import Callable
from dataclasses import dataclass

from imagebuild.architectures.architecture import GuestMachine
from imagebuild.tools.qemu.machine import Drive
from imagebuild.tools.qemu.option import escape


@dataclass(frozen=True, kw_only=True)
class DriveRecord:
    """A kind of drive: QEMU's options with `{id}` and `{more}` (serial number, place in the boot order), in a
    machine of each architecture.
    """

    name: str
    argv: Callable[[GuestMachine], tuple[str, ...]]
    media: str = ""

    def argv_of(self, drive: Drive, name: str, guest: GuestMachine) -> list[str]:
        """Return QEMU's options for a drive of this kind in such a machine, under a name of QEMU's."""
        access = "readonly=on" if drive.format == "raw" else "cache=unsafe,discard=unmap"
        media = f",media={self.media}" if self.media else ""
        serial = f",serial={drive.serial}" if drive.serial else ""
        order = ",bootindex=0" if drive.boot_first else ""
        return [
            "-drive",
            f"if=none,id={name},format={drive.format},{access}{media},file={escape(drive.file)}",
            *[word.format(id=name, more=serial + order) for word in self.argv(guest)],
        ]


CD = DriveRecord(name="cd", argv=lambda guest: guest.cd, media="cdrom")
USB = DriveRecord(
    name="usb",
    argv=lambda _: (
        *("-device", "qemu-xhci,id=usb-{id}"),
        *("-device", "usb-storage,bus=usb-{id}.0,drive={id},removable=on{more}"),
    ),
)
VIRTIO = DriveRecord(name="virtio", argv=lambda _: ("-device", "virtio-blk-pci,drive={id}{more}"))
