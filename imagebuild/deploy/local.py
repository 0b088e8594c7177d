"""The local target: a disk of the machine that the live installer runs on. It refuses to exist anywhere else
(live_system.py).
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.deploy import bootloader, compatibility, filesystems, host_var, luks, lvm
from imagebuild.deploy import live_system as guard
from imagebuild.deploy import partition_table as table
from imagebuild.deploy.execute import execute
from imagebuild.deploy.live_system import LiveSystem, live_system, partitions_of, refuse_protected
from imagebuild.deploy.sandbox import NamespaceSandbox, mount_toolbox
from imagebuild.deploy.target import SYSROOT, File
from imagebuild.errors import BuildError
from imagebuild.kickstart.encryption import without_passphrases
from imagebuild.kickstart.layout import SECTOR
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import command, temporary
from imagebuild.tools.namespace import Namespace, private

SETTLE_SECONDS = 60
RUN = Path("/run")
INSTALL = Path("/run/install")
LOG_DIRECTORY = "log/imagebuild"


class LocalTarget(NamespaceSandbox):
    """A Target on a disk of this machine; LVM maps the volumes."""

    def __init__(self, space: Namespace, root: Path, plan: Plan | None) -> None:
        super().__init__(space, root, plan)
        self.devices: dict[str, str] = {}

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self.devices[name]

    def prepare(self, plan: Plan) -> None:
        """Make and mount the file systems, in what is encrypted if something is."""
        luks.open_new(plan, self, self.devices)
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
        place = host_var.stateroot(plan) / LOG_DIRECTORY
        log, kickstart = steplog.current(), INSTALL / "ks.cfg"
        # a kickstart may have passwords
        self.run(["mkdir", "-p", "-m", "0700", place])
        if kickstart.is_file():
            text = without_passphrases(kickstart.read_text())
            self.write({place / "ks.cfg": File(data=text.encode(), mode=0o600)})
        if log is not None and log.is_file():
            self.run(["cp", str(log), place])
        filesystems.close_mapped(plan, self, trim=False)
        luks.close(plan, self)


@contextlib.contextmanager
def local_target(live: LiveSystem, disk: str | None, plan: Plan | None) -> Iterator[LocalTarget]:
    """Open the tree's programs as a sandbox, with the partitions of a disk (a kernel name) as its only
    devices; None: with none.

    Raises NotLiveError anywhere but in the live system, BuildError for a disk that is protected.
    """
    live_system()
    if disk is not None:
        refuse_protected(live, disk)
    with temporary.directory("local", base=RUN) as root, private() as space:
        mount_toolbox(space, live.tree, root)
        # as under Anaconda: scripts find the medium and the kickstart there
        space.run(["mkdir", root / "run/install"])
        space.run(["mount", "--rbind", INSTALL, root / "run/install"])
        target = LocalTarget(space, root, plan)
        if disk is None or plan is None:
            target.run(["mount", "-t", "tmpfs", "tmpfs", "/sysroot"], ["mkdir", "-m", "1777", "/sysroot/tmp"])
        else:
            numbers = partitions_of(disk)
            target.devices = {
                each.name: target.make_node(Path("/dev") / numbers[each.number]) for each in plan.partitions
            }
            # 10:236 is device-mapper's (Documentation/admin-guide/devices.txt)
            target.run(
                ["mkdir", "/dev/mapper"], ["mknod", "-m", "0600", "/dev/mapper/control", "c", "10", "236"]
            )
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
            target.run(
                [
                    "vgchange",
                    *filesystems.lvm_options(target.device(lvm.physical_volume(plan).name)),
                    "--activate=n",
                    plan.group,
                ]
            )
    if plan is not None and luks.encrypted(plan):
        with contextlib.suppress(BuildError):
            luks.close(plan, target)


def install_local(live: LiveSystem, disk: str, plan: Plan, *, commit: str, kernel: str) -> None:
    """Erase a disk of this machine (a kernel name, such as vda) and install the commit on it as the plan
    says. Raises BuildError.
    """
    refuse_protected(live, disk)
    device = Path("/dev") / disk
    with local_target(live, None, plan) as sandbox:
        # a tree that cannot boot this disk is told while everything on it is still there
        bootloader.make_loader(sandbox, plan)
    steplog.note(f"erasing {device}")
    _wipe(live, disk)
    table.write_table(device, plan)
    _reread(live, disk, plan)
    if plan.volumes and not filesystems.made_by_lvm(plan):
        lvm.write_group(device, plan)
        _flush(disk)
    with local_target(live, disk, plan) as target:
        loader = execute(plan, target, commit=commit)
    bootloader.write_loader(device, plan, loader, fill=_fill_by_mount)
    _flush(disk)
    compatibility.check(device, plan, grub=loader.version, kernel=kernel)


def _wipe(live: LiveSystem, disk: str) -> None:
    """Take every signature away: file systems, RAID, LVM, partition tables. wipefs(8) refuses what is in
    use.
    """
    refuse_protected(live, disk)
    for name in [*partitions_of(disk).values(), disk]:
        command.run(["wipefs", "--all", Path("/dev") / name])


def _reread(live: LiveSystem, disk: str, plan: Plan) -> None:
    """Have the kernel see the new partitions, and wipe what older systems left where they lie now.

    udev looks at a disk that was written, and asks the kernel to read the table too: while it does, our own
    request is refused.
    """
    refuse_protected(live, disk)
    deadline = time.monotonic() + SETTLE_SECONDS
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    wanted = {each.number: (each.start, each.size) for each in plan.partitions}
    # twice: the kernel may just be taking older ones of the same places away
    while not _stays(disk, wanted):
        if time.monotonic() > deadline:
            raise BuildError(
                f"the kernel does not see the new partitions of /dev/{disk}",
                hint="is something using the disk?",
            )
        command.status(["blockdev", "--rereadpt", Path("/dev") / disk])
        command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
        time.sleep(0.2)
    for name in partitions_of(disk).values():
        command.run(["wipefs", "--all", Path("/dev") / name])


def _stays(disk: str, wanted: dict[int, tuple[int, int]]) -> bool:
    """Whether the kernel knows these places, and still does after a moment: it may just be replacing older
    partitions of the same places.
    """
    if _known_places(disk) != wanted:
        return False
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    time.sleep(0.5)
    return _known_places(disk) == wanted


def _known_places(disk: str) -> dict[int, tuple[int, int]]:
    """Return number -> (start, size) in bytes of the partitions that the kernel knows and that have a
    device.
    """
    found = {}
    for number, name in partitions_of(disk).items():
        place = guard.SYS / "class/block" / name
        if (Path("/dev") / name).is_block_device():
            found[number] = (
                int((place / "start").read_text()) * SECTOR,
                int((place / "size").read_text()) * SECTOR,
            )
    return found


def _flush(disk: str) -> None:
    """Bring what was written through the whole disk to the disk: partitions have caches of their own."""
    os.sync()
    command.status(["udevadm", "settle", f"--timeout={SETTLE_SECONDS}"])
    for name in [disk, *partitions_of(disk).values()]:
        command.run(["blockdev", "--flushbufs", Path("/dev") / name])


def _fill_by_mount(image: Path, files: Mapping[PurePosixPath, bytes]) -> None:
    """Copy files into a FAT image by mounting it: the tree need not have mtools."""
    with temporary.directory("esp", base=RUN) as place:
        command.run(["mount", "-t", "vfat", "-o", "loop", image, place])
        try:
            for path, data in sorted(files.items()):
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(data)
        finally:
            command.run(["umount", place])
