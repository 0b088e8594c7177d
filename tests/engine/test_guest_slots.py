"""Guests of several builds share a machine's processors: real processes contend, and one of them dies."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.engine import guest_slots
from tests.data import ROOT

HOLD = """
import sys
from pathlib import Path
from imagebuild.engine import guest_slots
with guest_slots.taken(int(sys.argv[2]), say=print, place=Path(sys.argv[1]), count=2):
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "slots").mkdir()
    return tmp_path / "slots"


@pytest.fixture
def holders() -> Iterator[list["subprocess.Popen[str]"]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for each in found:
        with each:
            each.kill()


def hold(
    place: Path, wanted: int, holders: list["subprocess.Popen[str]"], *, waits: bool = False
) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-uc", HOLD, place, str(wanted)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    holders.append(process)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert (
        line.startswith("waiting for guests of other builds on this machine")
        if waits
        else line == "running\n"
    )
    return process


@pytest.mark.parametrize("killed", [False, True])
def test_two_processes_contend_and_the_dead_give_back(
    place: Path, holders: list["subprocess.Popen[str]"], killed: bool
) -> None:
    first, second = hold(place, 1, holders), hold(place, 1, holders)
    said: list[str] = []
    began = threading.Event()

    def wait() -> None:
        with guest_slots.taken(1, say=said.append, place=place, count=2):
            began.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert not began.wait(0.6)
    assert f"process {first.pid}" in said[0]
    assert f"process {second.pid}" in said[0]
    if killed:
        first.kill()
    else:
        assert first.stdin is not None
        first.stdin.close()
    assert began.wait(5)
    thread.join(5)
    assert said[1].startswith("waited ")


def test_a_large_guest_gets_its_turn_before_small_ones_that_come_later(
    place: Path, holders: list["subprocess.Popen[str]"]
) -> None:
    first = hold(place, 1, holders)
    large = hold(place, 2, holders, waits=True)
    small = hold(place, 1, holders, waits=True)
    first.kill()
    assert large.stdout is not None
    assert "waited" in large.stdout.readline()
    assert large.stdout.readline() == "running\n"
    assert small.poll() is None
    large.kill()
    assert small.stdout is not None
    assert "waited" in small.stdout.readline()


def test_more_than_the_machine_has_is_all_of_it_and_nothing_wants_nothing(place: Path) -> None:
    said: list[str] = []
    with (
        guest_slots.taken(9, say=said.append, place=place, count=2),
        guest_slots.taken(0, say=said.append, place=place, count=2),
    ):
        assert sorted(each.name for each in place.iterdir()) == ["core-0", "core-1", "turn"]
        assert (place / "core-0").read_text() == f"process {os.getpid()}\n"
        # any user may wait for them
        assert {each.stat().st_mode & 0o777 for each in place.iterdir()} == {0o666}
    assert said == []
    assert (place / "core-0").read_text() == ""


def test_where_nothing_can_be_locked_guests_run_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(guest_slots.VARIABLE, str(tmp_path / "file" / "slots"))
    said: list[str] = []
    with guest_slots.taken(1, say=said.append):
        pass
    assert "are not counted" in said[0]


def test_many_takers_never_hold_more_than_there_are(place: Path) -> None:
    now, most = [0], [0]
    guard = threading.Lock()

    def take(wanted: int) -> None:
        with guest_slots.taken(wanted, say=print, place=place, count=3):
            with guard:
                now[0] += wanted
                most[0] = max(most[0], now[0])
            time.sleep(0.001)
            with guard:
                now[0] -= wanted

    threads = [threading.Thread(target=take, args=(1 + number % 3,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert 1 <= most[0] <= 3
