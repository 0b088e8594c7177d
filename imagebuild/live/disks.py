"""Which disk to install on: what the kickstart says, or the only one there is. Never the medium, never a
guess.
"""

import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.live_system import SYS, LiveSystem, partitions_of, protected
from imagebuild.errors import BuildError
from imagebuild.tools import command

# sysfs names that are not disks to install on
NOT_DISKS = ("loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd", "mtd")
SECTOR = 512
GIB = 1 << 30
NOTHING_FOUND = 2  # blkid(8), EXIT STATUS
QUIET_SECONDS = 3
LONGEST_WAIT = 60


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A disk that may be erased: kernel name, bytes, what it calls itself, and what is on it now (a line
    each).
    """

    name: str
    size: int
    model: str
    content: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The disk for a person."""
        return f"{self.name}  {self.size / GIB:.1f} GiB  {self.model}".rstrip()


def candidates(live: LiveSystem) -> list[Candidate]:
    """Return the disks that may be erased."""
    found = []
    for place in sorted((SYS / "block").iterdir()):
        size = int(_read(place / "size") or 0) * SECTOR
        # a path of a multipath NVMe disk is not a disk
        if (
            place.name.startswith(NOT_DISKS)
            or not size
            or _read(place / "hidden") == "1"
            or protected(live, place.name)
        ):
            continue
        model = " ".join(filter(None, (_read(place / "device" / word) for word in ("vendor", "model"))))
        serial = _read(place / "serial") or _read(place / "device/serial")
        found.append(
            Candidate(
                name=place.name,
                size=size,
                model=" ".join(filter(None, (model, serial))),
                content=tuple(content(place.name)),
            )
        )
    return found


def content(name: str) -> list[str]:
    """Return what is on a disk now, a line for each signature (blkid(8), low-level probing)."""
    found = []
    for part in [name, *partitions_of(name).values()]:
        code, said = command.status(["blkid", "--probe", "--output", "export", Path("/dev") / part])
        facts = dict(line.partition("=")[::2] for line in said.splitlines() if "=" in line)
        kind = facts.get("TYPE") or (f"partition table {facts['PTTYPE']}" if "PTTYPE" in facts else "")
        if kind:
            found.append(f"{part}: {kind}" + (f" {facts['LABEL']!r}" if facts.get("LABEL") else ""))
        elif code not in (0, NOTHING_FOUND) or not _can_be_read(part):
            # signatures that contradict each other, or no answer: not empty
            found.append(f"{part}: something that cannot be told")
        elif part != name:
            found.append(f"{part}: a partition")
    return found


def _can_be_read(name: str) -> bool:
    try:
        with (Path("/dev") / name).open("rb") as stream:
            stream.read(SECTOR)
    except OSError:
        return False
    return True


def wait_until_known() -> None:
    """Wait until no disk has come or gone for some seconds: with one too few, the only one there would be no
    choice but a guess.
    """
    before: set[str] = set()
    since = time.monotonic()
    deadline = since + LONGEST_WAIT
    while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:
        command.status(["udevadm", "settle", f"--timeout={LONGEST_WAIT}"])
        now = {place.name for place in (SYS / "class/block").iterdir()}
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.5)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def choose(wanted: Sequence[str], found: Sequence[Candidate], say: str = "the kickstart") -> Candidate:
    """Return the disk to be erased. Raises BuildError: none, one that is not there, or several and nobody
    says which.
    """
    if not found:
        raise BuildError(
            "there is no disk to install on", hint="the installation medium and read-only disks do not count"
        )
    listing = "; ".join(each.shown for each in found)
    matching = {each.name: each for name in wanted for each in found if _is(each, name)}
    if wanted:
        lost = [name for name in wanted if not any(_is(each, name) for each in found)]
        if lost:
            raise BuildError(
                f"{say} names the disk {lost[0]}, which is not there or must not be erased",
                hint=f"there are: {listing}",
            )
        if len(matching) > 1:
            raise BuildError(
                f"{say} names several disks ({', '.join(matching)}); one system is installed on one"
            )
        return next(iter(matching.values()))
    if len(found) > 1:
        raise BuildError(
            f"there are {len(found)} disks and {say} does not say which: {listing}",
            hint="name it: ignoredisk --only-use=NAME",
        )
    return found[0]


def _is(disk: Candidate, name: str) -> bool:
    """Whether a kickstart's name means a disk: a kernel name (or pattern), /dev/NAME, or a link such as
    disk/by-id/…
    """
    short = name.removeprefix("/dev/")
    if "/" in short:
        return (Path("/dev") / short).resolve() == Path("/dev") / disk.name
    return fnmatch.fnmatchcase(disk.name, short)
