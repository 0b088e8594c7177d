"""The local target: a disk of the machine that the live installer runs on. It refuses to exist anywhere else.

A mistake here erases the build host, so the doors are closed one behind the other: only `live_system` makes a `LiveSystem`, and
only from the marker that the live initramfs leaves, of this very boot; every function that writes wants one and asks it again
whether the disk is protected (the medium, what is mounted, what somebody holds).
"""

import contextlib
import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.deploy import bootloader, compatibility, filesystems, lvm, table
from imagebuild.deploy.execute import execute
from imagebuild.deploy.layout import SECTOR
from imagebuild.deploy.plan import Plan
from imagebuild.deploy.sandbox import NamespaceSandbox, mount_toolbox
from imagebuild.deploy.target import SYSROOT
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools import command
from imagebuild.tools.namespace import Namespace, private

# written by installers/live_init.sh
MARKER = Path("/run/imagebuild-live")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYS = Path("/sys")
MOUNTS = Path("/proc/self/mountinfo")
SETTLE_SECONDS = 60
DESCRIPTOR = 16 * 2048
INSTALL = Path("/run/install")
LOG_DIRECTORY = "var/log/imagebuild"


class NotLiveError(BuildError):
    """This is not the live installer: no disk of this machine may be written."""


@dataclass(frozen=True, kw_only=True)
class LiveSystem:
    """The running live system: the device with the tree, the names of the disks it came from, which are never written, and its label."""

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
        tree, medium, label = Path(facts["tree"]), [str(number) for number in facts["medium"]], str(facts.get("label", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotLiveError(f"this is not the live installer ({error}): disks are chosen and erased nowhere else") from error
    if facts.get("boot_id") != boot or not owned:
        raise NotLiveError(f"{MARKER} was not made by the initramfs of this boot: disks are chosen and erased in the live installer only")
    root = next((line.split(" - ")[1].split()[0] for line in MOUNTS.read_text().splitlines() if line.split()[4] == "/"), "")
    if root != "overlay":
        raise NotLiveError(f"the root file system is {root or 'unknown'}, not the live installer's overlay")
    return LiveSystem(tree=tree, medium=frozenset(filter(None, (disk_of(number) for number in medium))), label=label)


def disk_of(number: str) -> str:
    """Return the name of the whole disk that a block device (MAJOR:MINOR) is or lies on; empty for one that is gone."""
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


def protected(live: LiveSystem, name: str) -> str:
    """Return why a disk must not be written, a sentence's rest; empty when it may be."""
    if not (SYS / "block" / name).exists():
        return "is not there"
    if name in live.medium:
        return "is the installation medium"
    if live.label and _label(name) == live.label:
        return f"holds a copy of the installation medium {live.label}"  # perhaps the one that was booted from
    return _unfit(name) or _used(name)


def _unfit(name: str) -> str:
    place = SYS / "block" / name
    if (place / "ro").read_text().strip() != "0":
        return "is read-only"
    file = place / "queue/logical_block_size"
    sector = int(file.read_text()) if file.exists() else SECTOR
    return f"has sectors of {sector} bytes, which this installer does not lay out" if sector != SECTOR else ""


def _used(name: str) -> str:
    numbers = {line.split()[2] for line in MOUNTS.read_text().splitlines()}
    if name in {disk_of(number) for number in numbers}:
        return "is mounted"
    for part in [name, *partitions_of(name).values()]:
        holders = [each.name for each in (SYS / "class/block" / part / "holders").glob("*")]
        if holders:
            return f"is in use: {', '.join(holders)} is on it"
    return _claimed(name)


def _claimed(name: str) -> str:
    """Return whether somebody holds a disk or a partition of it in a way that no list shows (swap, btrfs): the kernel knows (open(2), O_EXCL)."""
    try:
        os.close(os.open(Path("/dev") / name, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "is in use"
    return ""


def _label(name: str) -> str:
    """Return the volume id of the ISO file system that a disk holds (ECMA-119, 8.4.7); empty when it holds none."""
    try:
        with (Path("/dev") / name).open("rb") as stream:
            stream.seek(DESCRIPTOR)
            data = stream.read(72)
    except OSError:
        return ""
    return data[40:72].decode("ascii", "replace").rstrip() if data[1:6] == b"CD001" else ""


def _refuse_protected(live: LiveSystem, name: str) -> None:
    reason = protected(live_system(), name) or protected(live, name)
    if reason:
        raise BuildError(f"/dev/{name} {reason}: it is not touched")


class LocalTarget(NamespaceSandbox):
    """A Target on a disk of this machine; LVM maps the volumes."""

    def __init__(self, space: Namespace, root: Path, plan: Plan | None) -> None:
        super().__init__(space, root, plan)
        self.devices: dict[str, str] = {}

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self.devices[name]

    def prepare(self, plan: Plan) -> None:
        """Make and mount the file systems."""
        filesystems.make_mapped(plan, self)

    def reopen(self, plan: Plan, *, read_only: bool) -> None:
        """Mount what the disk has."""
        filesystems.activate(plan, self)
        filesystems.mount(plan, self, read_only=read_only)

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None:
        """Grow a mounted file system to the size of its volume."""
        filesystems.grow(self, name, fstype, place)

    def finish(self, plan: Plan) -> None:
        """Leave log and kickstart in the installed system, and unmount."""
        place = SYSROOT / "ostree/deploy" / plan.osname / LOG_DIRECTORY
        kept = [str(file) for file in (INSTALL / "ks.cfg", steplog.current()) if file is not None and file.is_file()]
        # passwords may stand in a kickstart
        self.run(["mkdir", "-p", "-m", "0700", place])
        if kept:
            self.run(["cp", *kept, place])
        filesystems.close_mapped(plan, self, trim=False)


@contextlib.contextmanager
def local_target(live: LiveSystem, disk: str | None, plan: Plan | None) -> Iterator[LocalTarget]:
    """Open the tree's programs as a sandbox, with the partitions of a disk (a kernel name) as its only devices; None: with none.

    Raises NotLiveError anywhere but in the live system, BuildError for a disk that is protected.
    """
    live_system()
    if disk is not None:
        _refuse_protected(live, disk)
    with tempfile.TemporaryDirectory(prefix="imagebuild-local-", dir="/run") as temporary, private() as space:
        root = Path(temporary)
        mount_toolbox(space, live.tree, root)
        # as under Anaconda: scripts find the medium and the kickstart there
        space.run(["mkdir", root / "run/install"])
        space.run(["mount", "--rbind", INSTALL, root / "run/install"])
        target = LocalTarget(space, root, plan)
        if disk is None or plan is None:
            target.run(["mount", "-t", "tmpfs", "tmpfs", "/sysroot"], ["mkdir", "-m", "1777", "/sysroot/tmp"])
        else:
            numbers = partitions_of(disk)
            target.devices = {each.name: target.make_node(Path("/dev") / numbers[each.number]) for each in plan.partitions}
            # 10:236 is device-mapper's (Documentation/admin-guide/devices.txt)
            target.run(["mkdir", "/dev/mapper"], ["mknod", "-m", "0600", "/dev/mapper/control", "c", "10", "236"])
        try:
            yield target
        except BaseException:
            _let_go(target, plan)
            raise


def _let_go(target: LocalTarget, plan: Plan | None) -> None:
    """Unmount and take the volumes away after a failure, as far as that goes: the disk can be tried again."""
    with contextlib.suppress(BuildError):
        target.run(["umount", "--recursive", SYSROOT])
    if plan is not None and plan.volumes and target.devices:
        with contextlib.suppress(BuildError):
            target.run(["vgchange", *filesystems.lvm_options(target.device(lvm.physical_volume(plan).name)), "--activate=n", plan.group])


def install_local(live: LiveSystem, disk: str, plan: Plan, *, commit: str, kernel: str) -> None:
    """Erase a disk of this machine (a kernel name, such as vda) and install the commit on it as the plan says. Raises BuildError."""
    _refuse_protected(live, disk)
    device = Path("/dev") / disk
    steplog.note(f"erasing {device}")
    _wipe(live, disk)
    table.write_table(device, plan)
    _reread(live, disk, plan)
    if plan.volumes and not plan.thin():
        lvm.write_group(device, plan)
        _flush(disk)
    with local_target(live, disk, plan) as target:
        loader = execute(plan, target, commit=commit)
    bootloader.write_loader(device, plan, loader, fill=_fill_by_mount)
    _flush(disk)
    compatibility.check(device, plan, grub=loader.version, kernel=kernel)


def _wipe(live: LiveSystem, disk: str) -> None:
    """Take every signature away: file systems, RAID, LVM, partition tables. wipefs(8) refuses what is in use."""
    _refuse_protected(live, disk)
    for name in [*partitions_of(disk).values(), disk]:
        command.run(["wipefs", "--all", Path("/dev") / name])


def _reread(live: LiveSystem, disk: str, plan: Plan) -> None:
    """Have the kernel see the new partitions, and wipe what older systems left where they lie now.

    udev looks at a disk that was written, and asks the kernel to read the table too: while it does, our own request is refused.
    """
    _refuse_protected(live, disk)
    deadline = time.monotonic() + SETTLE_SECONDS
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    wanted = {each.number: (each.start, each.size) for each in plan.partitions}
    # twice: the kernel may just be taking older ones of the same places away
    while not _stays(disk, wanted):
        if time.monotonic() > deadline:
            raise BuildError(f"the kernel does not see the new partitions of /dev/{disk}", hint="does something hold the disk?")
        command.status(["blockdev", "--rereadpt", Path("/dev") / disk])
        command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
        time.sleep(0.2)
    for name in partitions_of(disk).values():
        command.run(["wipefs", "--all", Path("/dev") / name])


def _stays(disk: str, wanted: dict[int, tuple[int, int]]) -> bool:
    """Whether the kernel knows these places, and still does after a moment: it may just be replacing older partitions of the same places."""
    if _known_places(disk) != wanted:
        return False
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    time.sleep(0.5)
    return _known_places(disk) == wanted


def _known_places(disk: str) -> dict[int, tuple[int, int]]:
    """Return number -> (start, size) in bytes of the partitions that the kernel knows and that have a device."""
    found = {}
    for number, name in partitions_of(disk).items():
        place = SYS / "class/block" / name
        if (Path("/dev") / name).is_block_device():
            found[number] = (int((place / "start").read_text()) * SECTOR, int((place / "size").read_text()) * SECTOR)
    return found


def _flush(disk: str) -> None:
    """Bring what was written through the whole disk to the disk: partitions have caches of their own."""
    os.sync()
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    for name in [disk, *partitions_of(disk).values()]:
        command.run(["blockdev", "--flushbufs", Path("/dev") / name])


def _fill_by_mount(image: Path, program: Path) -> None:
    """Copy the boot program into a FAT image by mounting it: the tree need not have mtools."""
    with tempfile.TemporaryDirectory(prefix="esp-", dir="/run") as place:
        command.run(["mount", "-t", "vfat", "-o", "loop", image, place])
        try:
            directory = Path(place) / "EFI/BOOT"
            directory.mkdir(parents=True)
            (directory / "BOOTX64.EFI").write_bytes(program.read_bytes())
        finally:
            command.run(["umount", place])
