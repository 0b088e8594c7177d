"""Whether this is the live installer, and which disks of it must not be written. What erases disks asks here
first, each time.

A mistake here erases the build host, so the doors are closed one behind the other: only `live_system` makes a
`LiveSystem`, and only from the marker that the live initramfs leaves, of this very boot; whoever writes asks
`refuse_protected` again (the medium, a copy of it, what is mounted, what somebody holds).
"""

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kickstart.layout import SECTOR, SECTORS
from imagebuild.kinds import Firmware

# written by templates/live/init.sh
MARKER = Path("/run/imagebuild-live")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYS = Path("/sys")
MOUNTS = Path("/proc/self/mountinfo")
DESCRIPTOR = 16 * 2048


class NotLiveError(BuildError):
    """This is not the live installer: no disk of this machine may be written."""


@dataclass(frozen=True, kw_only=True)
class LiveSystem:
    """The running live system: the device with the tree, the names of the disks it came from, which are never
    written, and its label.
    """

    tree: Path
    medium: frozenset[str]
    label: str = ""

    @property
    def firmware(self) -> Firmware:
        """What booted this machine."""
        return Firmware.UEFI if (SYS / "firmware/efi").is_dir() else Firmware.BIOS


def live_system() -> LiveSystem:
    """Return the live system that this is. Raises NotLiveError anywhere else."""
    try:
        facts = json.loads(MARKER.read_text())
        boot = BOOT_ID.read_text().strip()
        owned = MARKER.stat().st_uid == 0 and not MARKER.is_symlink()
        tree, medium, label = (
            Path(facts["tree"]),
            [str(number) for number in facts["medium"]],
            str(facts.get("label", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotLiveError(
            f"this is not the live installer ({error}): disks are chosen and erased nowhere else"
        ) from error
    if facts.get("boot_id") != boot or not owned:
        raise NotLiveError(
            f"{MARKER} was not made by the initramfs of this boot: disks are chosen and erased in the live"
            " installer only"
        )
    root = next(
        (
            line.split(" - ")[1].split()[0]
            for line in MOUNTS.read_text().splitlines()
            if line.split()[4] == "/"
        ),
        "",
    )
    if root != "overlay":
        raise NotLiveError(f"the root file system is {root or 'unknown'}, not the live installer's overlay")
    return LiveSystem(
        tree=tree, medium=frozenset(filter(None, (disk_of(number) for number in medium))), label=label
    )


def disk_of(number: str) -> str:
    """Return the name of the whole disk that a block device (MAJOR:MINOR) is or lies on; empty for one that
    is gone.
    """
    place = SYS / "dev/block" / number
    if not place.exists():
        return ""
    device = place.resolve()
    return device.parent.name if (device / "partition").exists() else device.name


def partitions_of(name: str) -> dict[int, str]:
    """Return number -> kernel name of the partitions that the kernel knows on a disk."""
    found = {}
    for place in sorted((SYS / "block" / name).glob(f"{name}*/partition")):
        found[int(place.read_text())] = place.parent.name
    return found


def protected(live: LiveSystem, name: str) -> str | None:
    """Return why a disk must not be written, a sentence's rest; None when it may be."""
    if not (SYS / "block" / name).exists():
        return "is not there"
    if name in live.medium:
        return "is the installation medium"
    if live.label and _label(name) == live.label:
        return f"holds a copy of the installation medium {live.label}"  # perhaps the one that was booted from
    return _unfit(name) or _used(name)


def _unfit(name: str) -> str | None:
    place = SYS / "block" / name
    if (place / "ro").read_text().strip() != "0":
        return "is read-only"
    sector = sector_of(name)
    return (
        None if sector in SECTORS else f"has sectors of {sector} bytes, which this installer does not lay out"
    )


def sector_of(name: str) -> int:
    """Return the logical block size of a disk, in bytes (Documentation/ABI/stable/sysfs-block,
    queue/logical_block_size).
    """
    file = SYS / "block" / name / "queue/logical_block_size"
    return int(file.read_text()) if file.exists() else SECTOR


def _used(name: str) -> str | None:
    numbers = {line.split()[2] for line in MOUNTS.read_text().splitlines()}
    if name in {disk_of(number) for number in numbers}:
        return "is mounted"
    for part in [name, *partitions_of(name).values()]:
        holders = [each.name for each in (SYS / "class/block" / part / "holders").glob("*")]
        if holders:
            return f"is in use: {', '.join(holders)} is on it"
    return _claimed(name)


def _claimed(name: str) -> str | None:
    """Return that somebody holds a disk or a partition of it in a way that no list shows (swap, btrfs), None
    when nobody does: the kernel knows (open(2), O_EXCL).
    """
    try:
        os.close(os.open(Path("/dev") / name, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "is in use"
    return None


def _label(name: str) -> str:
    """Return the volume id of the ISO file system that a disk holds (ECMA-119, 8.4.7); empty when it holds
    none.
    """
    try:
        with (Path("/dev") / name).open("rb") as stream:
            stream.seek(DESCRIPTOR)
            data = stream.read(72)
    except OSError:
        return ""
    return data[40:72].decode("ascii", "replace").rstrip() if data[1:6] == b"CD001" else ""


def refuse_protected(live: LiveSystem, name: str) -> None:
    """Raise NotLiveError, or BuildError for a disk that must not be written; the marker is read again,
    whatever the caller holds.
    """
    reason = protected(live_system(), name) or protected(live, name)
    if reason:
        raise BuildError(f"/dev/{name} {reason}: it is not touched")
