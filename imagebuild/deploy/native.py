"""The native way to populate: as root on the build host, on loop devices at offsets, without device-mapper.

Everything runs in private namespaces with the toolbox as root directory and a /dev that holds nothing but the
image's own parts: a program that goes wrong there finds neither the host's disks nor its network.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from imagebuild.deploy import btrfs, filesystems, lvm
from imagebuild.deploy.sandbox import NamespaceSandbox, check_programs, mount_toolbox
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import loop, temporary
from imagebuild.tools.namespace import Namespace, private

# Linux, Documentation/ABI/testing/sysfs-fs-ext4: what the kernel that runs was built with
VERITY = Path("/sys/fs/ext4/features/verity")


def unavailable() -> str | None:
    """Return why this host cannot populate natively; None when it can."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/dev/loop-control").exists():
        return "the host has no loop devices"
    known = Path("/proc/filesystems").read_text().split()
    missing = [name for name in ("xfs", "ext4", "squashfs") if name not in known and not _has_module(name)]
    return f"the host's kernel does not know {', '.join(missing)}" if missing else None


def _has_module(name: str) -> bool:
    modules = Path("/lib/modules") / os.uname().release / "modules.dep"
    return modules.exists() and re.search(rf"/{name}\.ko", modules.read_text()) is not None


def refuses(plan: Plan) -> str | None:
    """Return why this way cannot execute a plan; None when it can."""
    if btrfs.has(plan):
        # fs/btrfs/volumes.c, device_list_add: a second device of one UUID is taken for the same file system
        return "the kernel tells btrfs apart by its UUID, which disks of one commit share"
    if plan.verity and not VERITY.exists():
        return "the tree asks for fs-verity, which this machine's kernel does not have"
    return "thin volumes need device-mapper" if plan.thin() else None


class NativeTarget(NamespaceSandbox):
    """A Target in private namespaces of the build host."""

    def __init__(self, space: Namespace, root: Path, plan: Plan | None) -> None:
        super().__init__(space, root, plan)
        self._trim = False
        self._devices: dict[str, str] = {}

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self._devices[name]

    def attach(self, name: str, device: Path) -> None:
        """Make a loop device a device of the target."""
        self._devices[name] = self.make_node(device)

    def prepare(self, plan: Plan) -> None:
        """Make and mount the file systems; the volume group is in the file already, and each volume is a loop
        device at its place.
        """
        self._trim = True
        filesystems.make(plan, self)
        filesystems.mount(plan, self)

    def reopen(self, plan: Plan, *, read_only: bool) -> None:
        """Mount what the disk has.

        Nothing is given back then: what is changed is an overlay that QEMU exports, and holes of that must be
        whole clusters (QEMU 10.0, block/export/fuse.c, fuse_fallocate: EOPNOTSUPP for others), after the
        first of which Linux refuses all (6.18, drivers/block/loop.c, loop_clear_limits).
        """
        filesystems.mount(plan, self, read_only=read_only)

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None:
        """Grow a mounted file system to the size of its volume."""
        filesystems.grow(self, name, fstype, place)

    def finish(self, plan: Plan) -> None:
        """Unmount, and give back what a new disk does not use."""
        filesystems.unmount(plan, self, trim=self._trim)


@contextlib.contextmanager
def native_target(disk: Path | None, toolbox: Path, plan: Plan | None) -> Iterator[NativeTarget]:
    """Open the native way for a partitioned disk (or none); everything is unmounted and detached when the
    block ends, however it ends.
    """
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(temporary.directory("native"))
        space = stack.enter_context(private())
        image = stack.enter_context(loop.attached(toolbox, read_only=True))
        mount_toolbox(space, image, root)
        check_programs(space, root)
        target = NativeTarget(space, root, plan)
        if disk is None or plan is None:
            # the toolbox's /tmp is a link into there
            target.run(["mount", "-t", "tmpfs", "tmpfs", "/sysroot"], ["mkdir", "-m", "1777", "/sysroot/tmp"])
        else:
            for name, (start, size) in _places(plan).items():
                target.attach(name, stack.enter_context(loop.attached(disk, offset=start, size=size)))
        yield target


def _places(plan: Plan) -> dict[str, tuple[int, int]]:
    """Return name -> (offset, size) of what programs need as a device."""
    used = {name for _, name, _ in plan.file_systems()} | set(plan.swaps())
    found = {each.name: (each.start, each.size) for each in plan.partitions if each.name in used}
    return found | {each.name: lvm.place(plan, each.name) for each in plan.volumes if each.name in used}
