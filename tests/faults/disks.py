"""Disks that are full, read-only, or lack what others have: a small build with its store, its releases or its
temporary files on them.
"""

import contextlib
import itertools
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild.tools import loop
from tests.faults.bench import Bench, Ended, Machine
from tests.faults.kills import KILL, Undisturbed, difference, finished_in, is_still, strike
from tests.faults.leftovers import left
from tests.faults.small import SPACE
from tests.faults.tally import Tally
from tests.faults.work import Work, build, forget

KIB, MIB, PAGE = 1 << 10, 1 << 20, 1 << 12
# with room for everything
AMPLE = 64 * MIB
# what an error of a full disk says: the system's words, libostree's, and the look before a build
FULL = ("No space left on device", "not enough space", "min-free-space", " is full, ")
READ_ONLY = ("Read-only file system",)


@contextlib.contextmanager
def mounted(kind: str, place: Path, *options: str, source: Path | str = "none") -> Iterator[None]:
    """Have a file system at a place for the length of a block."""
    place.mkdir(parents=True, exist_ok=True)
    more = ["-o", ",".join(options)] if options else []
    subprocess.run(["mount", "-t", kind, *more, source, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def resize(place: Path, size: int) -> None:
    """Make a tmpfs larger or smaller."""
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


def complaint(ended: Ended, machine: Machine, words: tuple[str, ...]) -> list[str]:
    """Return what is wrong with how a run ended on a bad disk: it must fail, and say what is needed, and
    where.
    """
    # paths of temporary files are the machine's own, too
    where = (str(machine.place), "TMPDIR")
    wrong = []
    if ended.code != 1:
        wrong.append(f"it ended with {ended.code}: {ended.said[-800:]}")
    if "Traceback" in ended.said or "this is a bug" in ended.said:
        wrong.append(f"it takes the disk for a bug: {ended.said[-1500:]}")
    if not any(word in ended.said for word in words):
        wrong.append(f"it does not say what is missing: {ended.said[-1500:]}")
    if not any(word in ended.said for word in where):
        wrong.append(f"it does not say where: {ended.said[-1500:]}")
    return wrong


@contextlib.contextmanager
def removing(machine: Machine) -> Iterator[None]:
    """Remove a machine when the block has ended."""
    yield
    forget(machine)


@dataclass(frozen=True, kw_only=True)
class Room:
    """A directory of a machine that is a file system of its own, and how many bytes an undisturbed build
    takes there.
    """

    name: str
    of: Callable[[Machine], Path]
    used: int


PLACES: dict[str, Callable[[Machine], Path]] = {
    "store": lambda machine: machine.store,
    "releases": lambda machine: machine.output,
    "temporary files": lambda machine: machine.temporary,
}


def rooms(bench: Bench, place: Path) -> list[Room]:
    """Return where a disk may be full; how much each needs is measured."""
    found = []
    for name, of in PLACES.items():
        machine = bench.machine(place / "machine")
        with mounted("tmpfs", of(machine), f"size={AMPLE}"):
            most = peak(machine, of(machine))
        forget(machine)
        found.append(Room(name=name, of=of, used=most))
    return found


def peak(machine: Machine, room: Path) -> int:
    """Build, and return the most bytes that were in use in a tmpfs meanwhile."""
    running, most = machine.start(*machine.all(), **{SPACE: "x"}), 0
    while running.process.poll() is None:
        said = subprocess.run(["df", "-k", "--output=used", room], capture_output=True, text=True, check=True)
        most = max(most, int(said.stdout.split()[-1]) * KIB)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(0.05)
    ended = running.end()
    assert ended.code == 0, ended.said
    return most


def full(bench: Bench, place: Path, *, points: int, seed: int) -> Tally:
    """Build with too little room, of that many sizes between nothing and what it takes, in each place in
    turn; then with enough. A size with which a build comes to its end was not too little, and does not count.
    """
    tally, work = Tally("disk full: store, releases, temporary files"), build(bench)
    chance = random.Random(f"{seed} full")
    whole = Undisturbed(work, place)
    places = itertools.cycle(rooms(bench, place))
    while tally.tried < points:
        room = next(places)
        fill(work, whole, place, room, chance.randrange(room.used // PAGE) * PAGE + PAGE, tally)
    forget(whole.machine)
    return tally


def fill(work: Work, whole: Undisturbed, place: Path, room: Room, size: int, tally: Tally) -> None:
    """Build with a place of that size; give it room, and build to the end."""
    machine = work.begin(place / "machine")
    with removing(machine), mounted("tmpfs", room.of(machine), f"size={size}"):
        ended = machine.run(*work.argv(machine), **{SPACE: "x"})
        if ended.code == 0:
            return
        wrong = complaint(ended, machine, FULL)
        finished = finished_in(machine)
        resize(room.of(machine), AMPLE)
        again = machine.run(*work.argv(machine), **{SPACE: "x"})
        if again.code != 0:
            wrong.append(f"with room it ended with {again.code}: {again.said[-1500:]}")
        lost = [f"{file} was made again" for file in finished if not is_still(file, finished)]
        wrong += [said for said in left(machine) if "still mounted" not in said]
        wrong += difference(work, machine, whole)
        wrong = [f"{room.name} of {size} bytes: {said}" for said in wrong]
        tally.count(lost=lost, wrong=wrong, recovered=again.code == 0)


# --- strange ones -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def image(kind: str, place: Path, store: Path, *make: str) -> Iterator[None]:
    """Have a file system of a new image at the store's place."""
    file = place / f"{kind}.img"
    with file.open("wb") as stream:
        stream.truncate(1024 * MIB)
    subprocess.run([f"mkfs.{kind}", *make, file], check=True, capture_output=True)
    with loop.attached(file) as device, mounted(kind, store, source=device):
        yield
    file.unlink()


@contextlib.contextmanager
def overlay(place: Path, store: Path) -> Iterator[None]:
    """Have an overlay, as containers have, at the store's place."""
    layers = place / "layers"
    options = [f"lowerdir={layers}/lower", f"upperdir={layers}/upper", f"workdir={layers}/work"]
    with mounted("tmpfs", layers, f"size={AMPLE}"):
        for name in ("lower", "upper", "work"):
            (layers / name).mkdir()
        with mounted("overlay", store, *options):
            yield


# what each kind lacks: names for the table -> how it comes to be at the store's place
KINDS: dict[str, Callable[[Path, Path], contextlib.AbstractContextManager[None]]] = {
    "ext2, without xattrs, reflink, or extents": lambda place, store: image(
        "ext2", place, store, "-O", "^ext_attr"
    ),
    "ext4, without reflink": lambda place, store: image("ext4", place, store),
    "xfs, without reflink": lambda place, store: image("xfs", place, store, "-m", "reflink=0"),
    "ramfs, without xattrs or room that can be asked for": lambda place, store: mounted("ramfs", store),  # noqa: ARG005
    "an overlay": overlay,
}


def strange(bench: Bench, place: Path, count: int) -> Tally:
    """Build with the store on file systems that lack what others have: the same release comes of it."""
    tally, work = Tally("store on file systems without reflink, xattrs, O_TMPFILE"), build(bench)
    whole = Undisturbed(work, place)
    for name in list(KINDS)[:count]:
        machine = work.begin(place / "machine")
        with KINDS[name](place, machine.store):
            ended = machine.run(*work.argv(machine), **{SPACE: "x"})
            wrong = [] if ended.code == 0 else [f"it ended with {ended.code}: {ended.said[-1500:]}"]
            wrong += [said for said in left(machine) if "still mounted" not in said and "loop" not in said]
            wrong += difference(work, machine, whole)
            tally.count(lost=[], wrong=[f"{name}: {said}" for said in wrong], recovered=ended.code == 0)
        forget(machine)
    forget(whole.machine)
    return tally


def read_only(bench: Bench, place: Path) -> Tally:
    """Build with a finished store, and one that is empty, mounted read-only; then writable."""
    tally, work = Tally("read-only store, releases"), build(bench)
    whole = Undisturbed(work, place)
    for room in ("store", "releases"):
        for begun in (False, True):
            machine = work.begin(place / "machine")
            with mounted("tmpfs", machine.place / room, f"size={AMPLE}"):
                if begun:
                    half_way = machine.start(*work.argv(machine), **{SPACE: "x"})
                    strike(half_way, whole.seconds / 2, KILL)
                    half_way.end()
                subprocess.run(["mount", "-o", "remount,ro", machine.place / room], check=True)
                ended = machine.run(*work.argv(machine), **{SPACE: "x"})
                wrong = complaint(ended, machine, READ_ONLY)
                finished = finished_in(machine)
                subprocess.run(["mount", "-o", "remount,rw", machine.place / room], check=True)
                again = machine.run(*work.argv(machine), **{SPACE: "x"})
                if again.code != 0:
                    wrong.append(f"made writable it ended with {again.code}: {again.said[-1500:]}")
                lost = [f"{file} was made again" for file in finished if not is_still(file, finished)]
                wrong += [said for said in left(machine) if "still mounted" not in said]
                wrong += difference(work, machine, whole)
                tally.count(lost=lost, wrong=[f"{room}: {said}" for said in wrong], recovered=again.code == 0)
            forget(machine)
    forget(whole.machine)
    return tally
