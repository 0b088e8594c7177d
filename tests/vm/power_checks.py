"""A disk after a power cut, looked at without booting it: what a boot loader finds, what the journals make of
the file systems, whether the deployment and its repository are whole. Needs root: the kernel replays xfs.
"""

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.deploy.disk_map import Area, read_map
from imagebuild.smoke.boot_files import NO_ENTRY, BootEntry, BootFiles, find_boot_files
from imagebuild.tools import command, ext4, loop

# of a tree's files; a deployment that was checked out only in part has less
ENOUGH = 0.999
# Linux writes the other super blocks of an xfs that grows after the growth itself was committed, one by one,
# outside of its journal (fs/xfs/xfs_fsops.c, xfs_growfs_data: xfs_update_secondary_sbs). A power cut in
# between leaves old ones; kernels read the first only, xfs_repair compares them (and believes the majority)
GROWING = re.compile(
    r"would write modified primary superblock|AG superblock geometry info conflicts with filesystem geometry"
)
# libostree changes /boot/loader in the journal of /boot only (ostree-sysroot-deploy.c: swap_bootloader
# fsyncs, the freeze of full_system_sync comes before it) and then removes the old links below /ostree.
# Until the journal is checkpointed, GRUB, which replays none, starts the old entry (grub-fstest(1) reads the
# same), and its `ostree=` leads nowhere
SWAPPED = "GRUB finds the old entry, whose links are gone, or none"
# Linux' xfs may find no end of its log when of many log writes without a flush between them some are missing
# and later ones are there (seen with Linux 6.1, in a log that was never wrapped)
UNREPLAYED = "xfs cannot replay its journal"
PROGRESS = re.compile(r"\s+- |Phase \d|No modify flag")
GREW = "while xfs grew: its other super blocks are old"
KNOWN = (GREW, SWAPPED, UNREPLAYED)
Listing = dict[str, tuple[int, ...]]


@dataclass
class Inspector:
    """Looks at disks that were one disk once. Repositories that hold the same are read by `ostree fsck` once:
    objects that were there from the beginning count by inode, times and size, all others by content.
    """

    mounted: Path
    files: int = 0
    base: Listing = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    # kernels that were read when all was flushed: they cannot be lost later
    kernels: set[str] = field(default_factory=set)
    fscks: int = 0

    def learn(self, disk: Path) -> None:
        """Look at the disk before anything happened to it."""
        with _root_of(disk, self.mounted) as root:
            self.base = _listing(root)
            deployment = next(root.glob("ostree/deploy/*/deploy/*.0"))
            self.files = _count(deployment)
        assert (said := self.problem(disk, lasting=True)) is None, said

    def problem(self, disk: Path, *, lasting: bool) -> str | None:
        """Return what is wrong with a disk; None for nothing. `lasting`: all of it was flushed."""
        boot = find_boot_files(disk)
        if boot is None:
            return "there is no /boot"
        # as GRUB finds it, and as the kernel that was started does
        early = self._boot_problem(boot, lasting=lasting)
        if early not in (None, NO_ENTRY):
            return f"before the journal is replayed: {early}"
        starts = next(iter(boot.entries()), None)
        with loop.attached(disk, offset=boot.start, size=boot.size) as device:
            if said := ext4.replay(device) or ext4.problems(device):
                return f"/boot: {said}"
            # what the device still holds back is in the file
            subprocess.run(["blockdev", "--flushbufs", device], check=True)
        if said := self._boot_problem(boot, lasting=lasting):
            return f"after the journal was replayed: {said}"
        said = self._root_problem(disk, boot, starts)
        return SWAPPED if said is None and early is not None else said

    def _boot_problem(self, boot: BootFiles, *, lasting: bool) -> str | None:
        entries = boot.entries()
        if not entries:
            return boot.problem()
        paths = (entries[0].linux, entries[0].initrd)
        inodes = "".join(f"{path}: {ext4.describe(boot.disk, path, boot.start)}" for path in paths if path)
        if inodes in self.kernels:
            return None
        said = boot.problem()
        if said is None and lasting:
            self.kernels.add(inodes)
        return said

    def _root_problem(self, disk: Path, boot: BootFiles, starts: BootEntry | None) -> str | None:
        try:
            with _root_of(disk, self.mounted) as root:
                now = boot.entries()[0]
                if said := self._deployment_problem(root, now):
                    return said
                if starts not in (None, now) and (said := self._deployment_problem(root, starts)):
                    return SWAPPED if not (root / starts.ostree.lstrip("/")).exists() else said
                if said := self._repository_problem(root):
                    return said
        except subprocess.CalledProcessError:
            return UNREPLAYED
        return self._repair_problem(disk)

    def _repair_problem(self, disk: Path) -> str | None:
        area, said = _root_area(disk), ""
        for _ in range(2):
            with loop.attached(disk, offset=area.start, size=area.size) as device:
                status, said = command.status(["xfs_repair", "-n", device])
            if not status:
                return None
            if GROWING.search(said):
                return GREW
            # what a kernel puts off until it unmounts (unlinked files, counters) is done by another mount
            with _root_of(disk, self.mounted):
                pass
        matter = [line for line in said.splitlines() if line and not PROGRESS.match(line)]
        return f"xfs_repair: {'; '.join(matter)[:600]}"

    def _deployment_problem(self, root: Path, entry: BootEntry) -> str | None:
        link = root / entry.ostree.lstrip("/")
        # ostree(1): boot.N leads to boot.N.M, whose links lead to the deployment
        place = link.resolve()
        if not entry.ostree or not place.is_relative_to(root) or not place.is_dir():
            return f"the entry {entry.name} leads to no deployment: {entry.ostree}"
        files = _count(place)
        if files < ENOUGH * self.files:
            return f"{place.name} has {files} files, not {self.files}"
        if not (place / "etc" / "passwd").is_file():
            return f"{place.name} has no /etc"
        origin = place.with_name(place.name + ".origin")
        if not origin.is_file() or "refspec" not in origin.read_text():
            return f"{place.name} has no origin"
        return None

    def _repository_problem(self, root: Path) -> str | None:
        found = self._fingerprint(root)
        if found in self.verified:
            return None
        self.fscks += 1
        status, said = command.status(["ostree", f"--repo={root}/ostree/repo", "fsck", "--quiet"])
        if status:
            return f"ostree fsck: {said.strip()[-600:]}"
        self.verified.add(found)
        return None

    def _fingerprint(self, root: Path) -> str:
        total = hashlib.sha256()
        for name, facts in sorted(_listing(root).items()):
            total.update(f"{name} {facts}".encode())
            if self.base.get(name) != facts:
                content = root / "ostree/repo" / name
                if content.is_file() and not content.is_symlink():
                    total.update(content.read_bytes())
        return total.hexdigest()


def _listing(root: Path) -> Listing:
    """Return what tells whether a file of the repository is the same: its path there -> inode, size, time."""
    repo, found = root / "ostree/repo", Listing()
    for parent, directories, names in os.walk(repo):
        # partial pulls are nobody's yet, and fsck does not read them
        directories[:] = [name for name in directories if Path(parent, name) != repo / "tmp"]
        for name in names:
            facts = os.lstat(os.path.join(parent, name))  # noqa: PTH118  thousands of them, hundreds of times
            key = os.path.join(parent, name)[len(str(repo)) + 1 :]  # noqa: PTH118  as above
            found[key] = (facts.st_ino, facts.st_size, facts.st_mode, facts.st_mtime_ns)
    return found


def _count(place: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(place / "usr"))


def _root_area(disk: Path) -> Area:
    return next(area for area in read_map(disk) if area.content == "xfs")


@contextlib.contextmanager
def _root_of(disk: Path, place: Path) -> Iterator[Path]:
    """Mount the root file system, which replays its journal."""
    area = _root_area(disk)
    place.mkdir(exist_ok=True)
    with loop.attached(disk, offset=area.start, size=area.size) as device:
        subprocess.run(["mount", "-t", "xfs", "-o", "nouuid,noatime", device, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
