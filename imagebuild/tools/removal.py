"""Directories removed with everything in them, whatever still uses them: agents, mounts, loop devices."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.gpg_agents import end_agents

TRIES = 5


def remove(directory: Path) -> None:
    """Remove a directory with everything in it: its GnuPG agents end, its mounts are unmounted first, and no
    loop device keeps a file of it.

    Never raises; what is still mounted stays.
    """
    end_agents(directory)
    for mounted in reversed(mounts_below(directory)):
        with contextlib.suppress(OSError, BuildError):
            command.run_last(
                ["umount", "-l", mounted] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", mounted]
            )
    for device in _loops_below(directory) if os.geteuid() == 0 else []:
        with contextlib.suppress(OSError, BuildError):
            command.run_last(["losetup", "--detach", device])
    remove_unmounted(directory)


def remove_unmounted(directory: Path) -> None:
    """Remove a directory; never through a mount."""

    def unlock(function: Callable[..., Any], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            Path(name).parent.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                function(name)

    for _ in range(TRIES):
        if mounts_below(directory) or not directory.exists():
            return
        # threads that have not ended yet may still write there
        shutil.rmtree(directory, onerror=unlock)


def mounts_below(directory: Path) -> list[Path]:
    """Return what is mounted at or below a directory, parents first (proc(5), /proc/pid/mountinfo: the fifth
    field, blanks as \\040).
    """
    real = directory.resolve()
    mounts = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")[4].decode("utf-8", "surrogateescape")
        path = Path(
            words.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        )
        if path == real or real in path.parents:
            mounts.append(path)
    return sorted(mounts)


def _loops_below(directory: Path) -> list[Path]:
    """Return the loop devices of files below a directory: a program that was killed leaves them, and with
    them the blocks of what is removed.
    """
    devices = []
    for device in Path("/sys/block").iterdir() if Path("/sys/block").is_dir() else ():
        # most have none, and one may be detached meanwhile
        with contextlib.suppress(OSError):
            backing = (device / "loop" / "backing_file").read_text().rstrip("\n").removesuffix(" (deleted)")
            if directory.resolve() in Path(backing).parents:
                devices.append(Path("/dev") / device.name)
    return devices


def space_of(directory: Path) -> int:
    """Return the bytes that the files below a directory take of their file system."""
    size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                size += (Path(root) / name).lstat().st_blocks * 512
    return size
