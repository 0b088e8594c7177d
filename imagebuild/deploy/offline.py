"""The offline way to populate: no devices and no mounted file systems, so an ordinary user can; and the same
bytes every time.

In a user namespace the toolbox is unpacked, the system is installed into a plain directory inside of it (hard
links, so the content lies there once), and mke2fs(8) writes that directory into the disk at the right place.
ext4 only: mkfs.xfs cannot be given a directory. Times of inodes are set to the plan's, and what mke2fs takes
from the directory (ctime) is set with debugfs(8).
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from imagebuild.config.places import cache_directory
from imagebuild.deploy import filesystems, host_var, lvm
from imagebuild.deploy.sandbox import DEVICES, NamespaceSandbox, check_programs
from imagebuild.deploy.target import SYSROOT, File, mount_proc, mount_tmp, place_of
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import temporary
from imagebuild.tools.namespace import Namespace, mapped, mapping_unavailable

DISK = "/run/disk"
STAGE = PurePosixPath("/stage")
PAGE = 4096
NO_DISK = "the offline way cannot open a disk"
# i_flags of a directory with extents that is immutable (ext4(5)): what libostree makes of a deployment's root
IMMUTABLE = "0x80010"


def unavailable() -> str | None:
    """Return why this host cannot populate offline; None when it can."""
    return mapping_unavailable()


def refuses(plan: Plan) -> str | None:
    """Return why this way cannot execute a plan; None when it can."""
    if plan.thin():
        return "thin volumes need device-mapper"
    if plan.verity:
        return "the tree asks for fs-verity, which only a kernel can set"
    other = sorted({fstype for _, _, fstype in plan.file_systems() if fstype not in ("ext4", "efi")})
    return f"{', '.join(other)} cannot be made from a directory" if other else None


class OfflineTarget(NamespaceSandbox):
    """A Target that is a directory; the disk is written at the end."""

    def __init__(self, space: Namespace, root: Path, disk: Path | None, plan: Plan | None) -> None:
        super().__init__(space, root, plan)
        self._disk = disk

    def prepare(self, plan: Plan) -> None:
        """Make the directories of file systems. SYSROOT is not a mount: hard links do not cross
        one.
        """
        self.run(
            [
                "mkdir",
                "-p",
                *[place_of(mount) for mount, _, fstype in plan.file_systems() if fstype == "ext4"],
            ]
        )

    def reopen(self, plan: Plan, *, read_only: bool) -> None:
        """Refuse: nothing is mounted here."""
        del plan, read_only
        raise BuildError(NO_DISK, hint="use --populate=native or appliance")

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None:
        """Refuse: nothing is mounted here."""
        del name, fstype, place
        raise BuildError(NO_DISK, hint="use --populate=native or appliance")

    def finish(self, plan: Plan) -> None:
        """Write each directory into its place on the disk, with times that follow from the plan."""
        if self._disk is None:
            raise BuildError("there is no disk to be written")
        self._space.run(["touch", self._root / "run/disk"])
        self._space.run(["mount", "--bind", self._disk, self._root / "run/disk"])
        host_var.release(plan, self)
        self.run(["mkdir", STAGE])
        sources: dict[str, PurePosixPath] = {}
        for mount, name, fstype in reversed(plan.file_systems()):
            if fstype == "ext4" and mount != "/":
                place = place_of(mount)
                sources[name] = STAGE / name
                self.run(["mv", place, sources[name]], ["mkdir", "-m", "0755", place])
        sources[plan.root()[0]] = SYSROOT
        # libostree gives what it checks out the time 0; everything newer was made just now
        self.run(
            [
                "find",
                SYSROOT,
                STAGE,
                "-newermt",
                "@0",
                "-exec",
                "touch",
                "-h",
                "-d",
                f"@{plan.epoch}",
                "{}",
                "+",
            ]
        )
        for name, source in sources.items():
            self._write(plan, name, source)
        for name in plan.swaps():
            self._write_swap(plan, name)

    def _write(self, plan: Plan, name: str, source: PurePosixPath) -> None:
        start, size = lvm.place_of(plan, name)
        extended = f"hash_seed={plan.uuid(name + ' hash')},nodiscard,offset={start}"
        label = ["-L", plan.label(name)] if plan.label(name) else []
        times = {"E2FSPROGS_FAKE_TIME": str(max(1, plan.epoch))}  # 0 means now
        made = [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            *filesystems.blocks(plan),
            *filesystems.features(plan, name),
            "-U",
            plan.uuid(name),
            "-E",
            extended,
            *label,
            "-d",
            str(source),
            DISK,
            f"{size // 1024}k",
        ]
        self.run(made, env=times)
        image = f"{DISK}?offset={start}"
        inodes = used_inodes(
            self._space.run(["dumpe2fs", image], root=self._root, env=self._environment, quiet=True)
        )
        lines = [f"sif <{inode}> {field} @{plan.epoch}" for inode in inodes for field in ("ctime", "atime")]
        # mke2fs takes everything from the directory but what the directory itself is
        mode, owner, group = self.run(["stat", "-c", "%f %u %g", source]).split()
        lines += [f"sif <2> mode 0x{mode}", f"sif <2> uid {owner}", f"sif <2> gid {group}"]
        if source == SYSROOT:
            deployments = self.run(
                ["sh", "-c", 'ls -1d "$1"/ostree/deploy/*/deploy/*.[0-9]', "sh", SYSROOT]
            ).split()
            lines += [
                f"sif {PurePosixPath('/') / PurePosixPath(each).relative_to(SYSROOT)} flags {IMMUTABLE}"
                for each in deployments
            ]
        self.write({PurePosixPath("/run/pin"): File(data="\n".join(lines).encode() + b"\n")})
        # its exit status says nothing; what it complains of goes to standard error, after a line with its
        # version
        said = self.run(
            ["sh", "-c", 'debugfs -w -f /run/pin "$1" 2>&1 >/dev/null', "sh", image], env=times
        ).splitlines()
        if any(not line.startswith("debugfs ") for line in said):
            raise BuildError(f"debugfs could not set the times of {name}: {said[-1]}")

    def _write_swap(self, plan: Plan, name: str) -> None:
        start, size = lvm.place_of(plan, name)
        self.run(
            ["truncate", f"--size={size}", "/run/swap"], [*filesystems.mkfs(plan, name, "swap", "/run/swap")]
        )
        head = base64.b64decode(
            self._space.run(["sh", "-c", f"head -c {PAGE} /run/swap | base64"], root=self._root, quiet=True)
        )
        assert self._disk is not None
        with self._disk.open("r+b") as disk:
            disk.seek(start)
            disk.write(head)


def used_inodes(listing: str) -> list[int]:
    """Return the inodes in use, from dumpe2fs(8)'s listing: the root directory, and from the first that is
    not reserved on.
    """
    count, first = (
        int(found.group(1))
        for found in (
            re.search(rf"^{key}:\s+(\d+)$", listing, re.MULTILINE) for key in ("Inode count", "First inode")
        )
        if found
    )
    free: set[int] = set()
    for line in re.findall(r"^  Free inodes: (.*)$", listing, re.MULTILINE):
        for piece in filter(None, (word.strip() for word in line.split(","))):
            low, _, high = piece.partition("-")
            free.update(range(int(low), int(high or low) + 1))
    return [2, *(inode for inode in range(first, count + 1) if inode not in free)]


@contextlib.contextmanager
def offline_target(disk: Path | None, toolbox: Path, plan: Plan | None) -> Iterator[OfflineTarget]:
    """Open the offline way; what it unpacked is removed when the block ends, and what a killed run left when
    it begins.
    """
    sweep()
    with temporary.directory("offline", base=_large(), remover=_remove) as work:
        root = work / "root"
        with mapped() as space:
            space.run(["unsquashfs", "-q", "-n", "-strict-errors", "-d", root, toolbox])
            check_programs(space, root)
            _mount_system(space, root)
            yield OfflineTarget(space, root, disk, plan)


def sweep() -> int:
    """Remove what killed runs have unpacked; return the bytes freed."""
    return temporary.sweep(_large(), remover=_remove)


def _large() -> Path:
    place = cache_directory() / "offline"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _remove(place: Path) -> None:
    """Remove what was unpacked: the mounts are gone with their namespaces, and the owners of what is left
    exist in such ones only.
    """
    with mapped() as space:
        space.run(["rm", "-rf", "--one-file-system", place])


def _mount_system(space: Namespace, root: Path) -> None:
    commands: list[list[str | Path]] = [
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "dev"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "run"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "var"],
        ["mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys"],
        ["mkdir", "-p", root / "run/lock/lvm", root / "var/tmp", root / "sysroot/tmp"],
        ["chmod", "1777", root / "sysroot/tmp"],
        ["ln", "-s", "/proc/self/fd", root / "dev/fd"],
        [*mount_tmp(root / "tmp")],
    ]
    # device nodes cannot be made in a user namespace: the host's harmless ones are bound
    commands += [[str(word) for word in argv] for argv in mount_proc(root / "proc")]
    for name in DEVICES:
        place = root / "dev" / name
        commands.append(["touch", place])
        commands.append(["mount", "--bind", f"/dev/{name}", place])
    for argv in commands:
        space.run(argv)
