"""The native way to populate: as root on the build host, on loop devices at offsets, without device-mapper.

Everything runs in private namespaces with the toolbox as root directory and a /dev that holds nothing but the image's own
parts: a program that goes wrong there finds neither the host's disks nor its network.
"""

import base64
import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from imagebuild.deploy.execute import lvm_options
from imagebuild.deploy.plan import EXTENT, Plan
from imagebuild.deploy.target import Argv, File
from imagebuild.errors import BuildError
from imagebuild.tools import loop
from imagebuild.tools.namespace import Namespace, private

# what %post may not do: reach devices, modules, the clock, mounts or other roots (capabilities(7))
TAKEN = (
    "sys_admin",
    "sys_module",
    "sys_rawio",
    "sys_boot",
    "sys_time",
    "sys_ptrace",
    "mknod",
    "net_admin",
    "net_raw",
    "syslog",
    "mac_admin",
    "mac_override",
    "sys_chroot",
    "bpf",
    "perfmon",
)
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


def unavailable() -> str:
    """Return why this host cannot populate natively; empty when it can."""
    if os.geteuid() != 0:
        return "not root"
    if not Path("/dev/loop-control").exists():
        return "the host has no loop devices"
    known = Path("/proc/filesystems").read_text().split()
    missing = [name for name in ("xfs", "ext4", "squashfs") if name not in known and not _has_module(name)]
    return f"the host's kernel does not know {', '.join(missing)}" if missing else ""


def _has_module(name: str) -> bool:
    modules = Path("/lib/modules") / os.uname().release / "modules.dep"
    return modules.exists() and re.search(rf"/{name}\.ko", modules.read_text()) is not None


class NativeTarget:
    """A Target in private namespaces of the build host."""

    def __init__(self, space: Namespace, root: Path, disk: Path, stack: contextlib.ExitStack) -> None:
        self._space = space
        self._root = root
        self._disk = disk
        self._stack = stack
        self._devices: dict[str, str] = {}

    def device(self, name: str) -> str:
        """Return the device path of a partition or volume of the plan."""
        return self._devices[name]

    def attach(self, name: str, offset: int, size: int) -> None:
        """Make a part of the disk a device of the target."""
        device = self._stack.enter_context(loop.attached(self._disk, offset=offset, size=size))
        number = device.stat().st_rdev
        inside = f"/dev/{device.name}"
        self._space.run(["mknod", "-m", "0600", str(self._root) + inside, "b", str(os.major(number)), str(os.minor(number))])
        self._devices[name] = inside

    def activate(self, plan: Plan) -> None:
        """Find the volumes' extents and attach each as a loop device: no device-mapper, and no clash with the host's groups."""
        physical = next(each for each in plan.partitions if each.content == "lvm")
        report = [*lvm_options(self.device(physical.name)), "--noheadings", "--units=b", "--nosuffix", "-o"]
        start = int(self.run(["pvs", *report, "pe_start", self.device(physical.name)]))
        for line in self.run(["lvs", *report, "lv_name,seg_count,seg_pe_ranges", plan.group]).splitlines():
            name, count, extents = line.split()
            match = re.fullmatch(r"\S+:(\d+)-(\d+)", extents)
            if match is None or count != "1":
                raise BuildError(f"volume {name} is not in one piece ({extents}): use --populate=appliance")
            first, last = int(match.group(1)), int(match.group(2))
            self.attach(name, physical.start + start + first * EXTENT, (last - first + 1) * EXTENT)

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs one after the other in the toolbox."""
        output = ""
        for argv in commands:
            output = self._space.run([str(word) for word in argv], root=self._root, env=env)
        return output

    def run_inside(self, root: PurePosixPath, argv: Argv, script: str) -> None:
        """Run a script in the installed system without the privileges that could reach the host."""
        bound = ",".join(f"-{name}" for name in TAKEN)
        inner = ["setpriv", f"--bounding-set={bound}", f"--inh-caps={bound}", "--no-new-privs", *[str(word) for word in argv]]
        self._space.run(["chroot", str(root), *inner], root=self._root, stdin=script.encode())

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files through the namespace (the mounts are not visible from outside)."""
        for path, file in files.items():
            self.run(["mkdir", "-p", path.parent])
            self._space.run(
                ["sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", str(path), f"{file.mode:04o}"], root=self._root, stdin=file.data
            )

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file's content, passed through the toolbox's base64: what programs print is kept as text."""
        return base64.b64decode(self._space.run(["base64", str(path)], root=self._root, quiet=True))


@contextlib.contextmanager
def native_target(disk: Path, toolbox: Path, plan: Plan) -> Iterator[NativeTarget]:
    """Open the native way for a partitioned disk; everything is unmounted and detached when the block ends, however it ends."""
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="imagebuild-native-")))
        space = stack.enter_context(private())
        image = stack.enter_context(loop.attached(toolbox, read_only=True))
        _mount_toolbox(space, image, temporary)
        target = NativeTarget(space, temporary, disk, stack)
        for partition in plan.partitions:
            target.attach(partition.name, partition.start, partition.size)
        yield target


def _mount_toolbox(space: Namespace, image: Path, root: Path) -> None:
    commands: list[list[str | Path]] = [
        ["mount", "-t", "squashfs", "-o", "ro", image, root],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "dev"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "run"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "var"],
        ["mount", "-t", "proc", "proc", root / "proc"],
        ["mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys"],
        ["mkdir", "-p", root / "run/lock/lvm", root / "var/tmp"],
        ["ln", "-s", "/proc/self/fd", root / "dev/fd"],
    ]
    commands += [["mknod", "-m", "0666", root / "dev" / name, "c", str(major), str(minor)] for name, (major, minor) in DEVICES.items()]
    for argv in commands:
        space.run(argv)
