"""Disks that a power cut may leave are looked at, and the worst is found; what cannot be recorded is not
tested.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuild.errors import BuildError
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.power_cuts import PowerCuts, look_at
from imagebuild.smoke.stops import Survival
from imagebuild.tools import write_log
from imagebuild.tools.power_cut import Cut
from imagebuild.tools.write_log import ENTRY, FLUSH, SUPER, WriteLog
from tests.smoke.boot_disks import make_boot, make_disk
from tests.smoke.healthy_host import broken_host
from tests.smoke.told_journey import SURVIVAL
from tests.smoke.trials import EXPECTED

SECTOR = 512


def log_of(file: Path, disk: Path, *writes: tuple[int, bytes] | None) -> WriteLog:
    """Write a log (None: a flush) as QEMU does (block/blklogwrites.c), and read it."""
    data = SUPER.pack(write_log.MAGIC, 1, len(writes), SECTOR).ljust(SECTOR, b"\0")
    for write in writes:
        if write is None:
            data += ENTRY.pack(0, 0, FLUSH, 0).ljust(SECTOR, b"\0")
        else:
            place, content = write
            data += ENTRY.pack(place // SECTOR, len(content) // SECTOR, 0, 0).ljust(SECTOR, b"\0") + content
    file.write_bytes(data)
    return write_log.read(file, disk_size=disk.stat().st_size)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with a whole /boot."""
    return make_disk(make_boot(tmp_path / "boot"), tmp_path / "disk.raw")


def place_of(disk: Path, content: bytes) -> int:
    """Return where on a disk something lies, down to its sector."""
    return disk.read_bytes().index(content) // SECTOR * SECTOR


def test_a_menu_that_a_cut_leaves_half_written_is_the_worst(tmp_path: Path, disk: Path) -> None:
    menu = place_of(disk, b"set timeout=1")
    whole = disk.read_bytes()
    log = log_of(
        tmp_path / "log",
        disk,
        (disk.stat().st_size - 4 * SECTOR, b"x" * SECTOR),
        None,
        (menu, bytes(2 * SECTOR)),
        (menu, whole[menu : menu + 2 * SECTOR]),
        None,
    )
    fine, broken, lost = (
        Cut(durable=0, kept=(), lost=1),
        Cut(durable=2, kept=(2,), lost=0),
        Cut(durable=2, kept=(3,), lost=1),
    )
    looked_at, wrong, worst = look_at(log, disk, [fine, broken, lost], tmp_path)
    assert worst == broken
    assert looked_at == 3
    assert list(wrong) == [str(broken)]
    assert "the boot loader has no entry" in wrong[str(broken)] or "not there" in wrong[str(broken)]
    # the disk is as whole as the flushes have it
    assert disk.read_bytes()[menu : menu + 2 * SECTOR] == whole[menu : menu + 2 * SECTOR]


def test_where_nothing_is_wrong_the_one_that_lost_most_of_boot_is_the_worst(
    tmp_path: Path, disk: Path
) -> None:
    menu = place_of(disk, b"set timeout=1")
    same = disk.read_bytes()[menu : menu + SECTOR]
    outside = (disk.stat().st_size - 4 * SECTOR, b"x" * SECTOR)
    log = log_of(tmp_path / "log", disk, outside, outside, outside, None, (menu, same), None)
    many, inside = Cut(durable=0, kept=(), lost=3), Cut(durable=4, kept=(), lost=1)
    _, wrong, worst = look_at(log, disk, [many, inside], tmp_path)
    assert not wrong
    assert worst == inside


class FakeRunning:
    """A machine that can be recorded, or not."""

    def __init__(self, problem: str, done: list[str]) -> None:
        self.problem, self.done = problem, done

    def execute(self, name: str) -> None:
        self.done.append(name)

    def record_writes(self, log: Path) -> None:
        self.done.append(f"record into {log.parent.name}/{log.name}")
        if self.problem:
            raise BuildError(self.problem)


class FakeGuest:
    """A guest with such a machine."""

    def __init__(self, overlay: Path, problem: str = "") -> None:
        self.host, self.overlay, self.done = broken_host({"sync": ""}), overlay, list[str]()
        overlay.write_bytes(b"a disk")
        self.running = FakeRunning(problem, self.done)
        self.at_power_on: Any = None


def cuts_in(tmp_path: Path) -> PowerCuts:
    trial: Any = None
    return PowerCuts(trial, tmp_path / "recording", "", {})


def test_an_upgrade_is_recorded_and_later_boots_are_not(tmp_path: Path) -> None:
    machine: Any = FakeGuest(tmp_path / "overlay.qcow2")
    cuts = cuts_in(tmp_path)
    with cuts.recorded(machine):
        assert machine.done == ["stop", "record into recording/writes.log", "cont"]
        assert (tmp_path / "recording" / "disk.qcow2").read_bytes() == b"a disk"
    assert cuts.why_not is None
    assert machine.at_power_on is None


def test_what_cannot_be_recorded_is_upgraded_all_the_same_and_not_tested(tmp_path: Path) -> None:
    machine: Any = FakeGuest(tmp_path / "overlay.qcow2", "QEMU's monitor does not answer to blockdev-add")
    cuts, journey = cuts_in(tmp_path), None
    with cuts.recorded(machine):
        assert machine.done[-1] == "cont"
    with pytest.raises(NotTestedError, match="cannot be recorded here: QEMU's monitor"):
        cuts.survive(machine, journey)  # type: ignore[arg-type]  # it is not looked at


def test_a_journey_whose_upgrade_was_not_recorded_says_so(tmp_path: Path) -> None:
    releases: Any = None
    host = broken_host({})
    journey = Journey(host, EXPECTED, releases, tmp_path / "log")
    with pytest.raises(NotTestedError, match="was not recorded"):
        journey.cut_off()


def test_a_power_cut_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    @contextlib.contextmanager
    def recorded() -> Iterator[None]:
        asked.append("recording")
        yield

    def cut(journey: Journey) -> Survival:
        asked.append("cut")
        return SURVIVAL

    releases: Any = None
    journey = Journey(broken_host({}), EXPECTED, releases, tmp_path / "log")
    monkeypatch.setattr(journey, "_prepare", lambda: asked.append("start"))
    monkeypatch.setattr(journey, "_upgrade", lambda _, name: asked.append(name))
    journey.releases = type("R", (), {"next": None})()
    journey.recorded, journey.cut = recorded, cut
    assert journey.cut_off() is SURVIVAL
    assert journey.cut_off() is SURVIVAL
    assert asked == ["start", "recording", "upgraded", "cut"]
