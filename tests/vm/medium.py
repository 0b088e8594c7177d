"""The demo's installer ISO on a machine: how it is started, watched, and given kickstarts."""

import re
from pathlib import Path
from typing import Any

from imagebuild.kinds import Firmware
from imagebuild.model import IsoImage
from imagebuild.smoke.boot_menu import wait_for
from imagebuild.smoke.installation import InstallerBench
from imagebuild.tools import command, iso
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.machine import Drive, Kernel
from imagebuild.tools.qemu.running import Running
from tests.vm.wiring import Lab

MENU_KEYS = {"install": "i", "test": "t", "unattended": "u"}


def bench(lab: Lab, image: IsoImage, **more: Any) -> InstallerBench:
    return InstallerBench(
        **{"iso": image.file, "firmware": Firmware.BIOS, "accelerator": lab.host.accelerator, **more}
    )


def seconds(lab: Lab, native: float = 60) -> float:
    return native * lab.host.accelerator.slowness


def said(running: Running, lab: Lab, pattern: str, native: float = 60) -> str:
    """Wait for a line of the installer and return the console."""
    return wait_for(
        running, lambda console: re.search(pattern, console) is not None, seconds(lab, native), repr(pattern)
    )


def oem_disk(place: Path, text: str) -> Drive:
    """A disk labelled OEMDRV with a kickstart on it."""
    place.mkdir(exist_ok=True)
    file, kickstart = place / "oem.img", place / "ks.cfg"
    kickstart.write_text(text)
    with file.open("wb") as stream:
        stream.truncate(4 << 20)
    command.run(["mkfs.vfat", "-n", "OEMDRV", file])
    command.run(["mcopy", "-i", file, kickstart, "::/ks.cfg"])
    return Drive(file=file)


def direct(image: IsoImage, work: Path, arguments: str) -> Kernel:
    """The ISO's own kernel and initramfs, with these arguments."""
    found = iso.extract(image.file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], work)
    return Kernel(
        file=found["/images/pxeboot/vmlinuz"],
        initrd=found["/images/pxeboot/initrd.img"],
        arguments=f"console=ttyS0,115200n8 quiet {arguments}",
    )


def untouched(disk: Path) -> bool:
    """Whether nothing was ever written to a disk."""
    found = disk_image.info(disk, "qcow2")
    return int(found["actual-size"]) < (1 << 20)
