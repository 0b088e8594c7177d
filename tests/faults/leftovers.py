"""What must not be left of a run: programs, mounts, loop devices, locks that are held, temporary directories,
files that are half.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.tools.removal import mounts_below
from tests.faults.bench import Machine

# how long programs have to hear of their parent's end
SECONDS = 10.0
# what files.replace, the diary of a build, and releases that are put together are called until they are whole
HALF = re.compile(r"\..+\.[0-9a-f]{8}|\..+\.tmp|\..+\.partial")


def programs(place: Path) -> dict[int, str]:
    """Return the processes that were started with a TMPDIR below a place, whoever their parents are by now:
    pid -> command line.
    """
    found = {}
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and f"TMPDIR={place}".encode() in (process / "environ").read_bytes():
                argv = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(process.name)] = argv.decode("utf-8", "replace")[:100]
    return found


def wait_until_gone(place: Path) -> dict[int, str]:
    """Return the programs that are still there after a while."""
    deadline = time.monotonic() + SECONDS
    while programs(place) and time.monotonic() < deadline:
        time.sleep(0.05)
    return programs(place)


def loops(place: Path) -> list[str]:
    """Return the loop devices of files below a place."""
    found = []
    for device in Path("/sys/block").glob("loop*"):
        with contextlib.suppress(OSError):
            backing = (device / "loop" / "backing_file").read_text()
            if backing.startswith(f"{place}/"):
                found.append(f"{device.name} of {backing.strip()}")
    return found


def held_locks(machine: Machine) -> list[Path]:
    """Return the files below the machine's place that somebody holds a lock on."""
    held = []
    names = ("locks/*", "builds/*.lock", "*.lock", ".lock")
    for file in {
        file for place in (machine.store, machine.output) for each in names for file in place.glob(each)
    }:
        if file.is_file():
            with file.open("a") as stream:
                if not files.try_lock(stream.fileno()):
                    held.append(file)
    return held


def half_files(machine: Machine) -> list[Path]:
    """Return what is not finished in the machine's directories. What libostree keeps in a repository's tmp
    for its own next transaction is its own (ostree-repo-commit.c, cleanup_tmpdir).
    """
    scratch = machine.store / "scratch"
    found = list(scratch.iterdir()) if scratch.is_dir() else []
    for place in (machine.store, machine.output, machine.place / "mirror", machine.place / "stable"):
        found += [
            file
            for file in place.rglob(".*")
            if HALF.fullmatch(file.name) and "repo/tmp/" not in str(file) and "stable/tmp/" not in str(file)
        ]
    return found


def left(machine: Machine, *, half: bool = True) -> Iterator[str]:
    """Yield what was left by runs that have ended, a sentence each."""
    place = machine.temporary
    yield from (f"the program {argv} still runs" for argv in wait_until_gone(place).values())
    yield from (f"{path} is still mounted" for path in mounts_below(machine.place))
    yield from (f"{device} is still there" for device in loops(machine.place))
    yield from (f"the lock {file} is still held" for file in held_locks(machine))
    yield from (f"{file} was left in TMPDIR" for file in place.iterdir())
    offline = machine.place / "cache" / "imagebuild" / "offline"
    yield from (f"{file} was left" for file in (offline.iterdir() if offline.is_dir() else ()))
    if half:
        yield from (f"{file} is half" for file in half_files(machine))
