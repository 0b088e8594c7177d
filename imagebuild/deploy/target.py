"""Where a Plan is executed: a place with the tree's own programs, the disk's parts as devices, and its root
at /sysroot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from imagebuild.kickstart.plan import Plan

SYSROOT = PurePosixPath("/sysroot")
REPO = "/imagebuild/repo"  # the bare repo in the toolbox

PROTECT = (
    'if [ -e "$1" ]; then mount --bind "$1" "$1" && mount -o remount,bind,ro,nosuid,nodev,noexec "$1"; fi'
)
Argv = Sequence[str | PurePosixPath]


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to be written."""

    data: bytes
    mode: int = 0o644


class Sandbox(Protocol):
    """Programs run from the tree's toolbox, as root of wherever that is; paths are those of the toolbox."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs one after the other; return the last one's standard output. Raises BuildError at the
        first that fails.
        """

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        """Run an interpreter with a script on its standard input, with few privileges; `root`: inside the
        installed system there.
        """

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files, with their parent directories."""

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file's content."""


class Target(Sandbox, Protocol):
    """A sandbox with a disk."""

    def prepare(self, plan: Plan) -> None:
        """Make the plan's file systems, and mount them at SYSROOT."""

    def reopen(self, plan: Plan, *, read_only: bool) -> None:
        """Mount at SYSROOT the file systems that the disk has already."""

    def grow(self, name: str, fstype: str, place: PurePosixPath) -> None:
        """Grow a mounted file system to the size of its volume."""

    def finish(self, plan: Plan) -> None:
        """Unmount everything; whatever was written is on the disk afterwards."""


def place_of(mount: str) -> PurePosixPath:
    """Return where the toolbox has the file system that the installed host has at `mount`: a host's /sysroot
    is the physical root itself.
    """
    return SYSROOT / mount.removeprefix("/sysroot/").lstrip("/")


# a tree with a read-only /sysroot has a directory there, which the running host covers with a file system in
# memory, and so is covered here; others have a link
TMP = 'if [ -d "$1" ] && ! [ -L "$1" ]; then mount -t tmpfs -o mode=1777 tmpfs "$1"; fi'


def mount_tmp(place: PurePosixPath | Path | str) -> list[str]:
    """Return the command that covers a tree's /tmp where it is a directory."""
    return ["sh", "-c", TMP, "sh", str(place)]


def mount_proc(place: PurePosixPath | Path) -> list[list[str | PurePosixPath | Path]]:
    """Return the commands that mount /proc. What in it speaks to the whole kernel (core_pattern, sysrq) asks
    for a user id only: read only.
    """
    protect: list[list[str | PurePosixPath | Path]] = [
        ["sh", "-c", PROTECT, "sh", place / name] for name in ("sys", "sysrq-trigger", "irq", "bus")
    ]
    return [["mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", place], *protect]


def environment(plan: Plan | None) -> dict[str, str]:
    """Return what every program of the toolbox has in its environment; times that programs write follow the
    plan (reproducible-builds.org).
    """
    base = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "LVM_SYSTEM_DIR": "",
        "HOME": "/",
        "TMPDIR": "/run",
    }
    return base | ({"SOURCE_DATE_EPOCH": str(plan.epoch)} if plan is not None else {})
