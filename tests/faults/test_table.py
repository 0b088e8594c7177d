"""docs/reliability.md has the table that the harness wrote, and the harness sees what is wrong."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults import table
from tests.faults.bench import Bench, Machine
from tests.faults.experiments import EXPERIMENTS
from tests.faults.kills import finished_in, is_still
from tests.faults.leftovers import half_files, held_locks, left
from tests.faults.load import judge
from tests.faults.tally import Tally


def test_the_document_has_what_was_found() -> None:
    document = table.DOCUMENT.read_text()
    assert table.with_table(document, table.table(EXPERIMENTS, table.read())) == document


def test_what_was_not_run_is_said() -> None:
    tally = Tally("a fault", tried=7, recovered=7)
    row = table.row_of(tally, 5)
    text = table.table({"kill-all": EXPERIMENTS["kill-all"], "races": EXPERIMENTS["races"]}, {"races": row})
    assert text.splitlines()[2].startswith("| all: killed, SIGTERM, Ctrl-C | not run |")
    assert text.splitlines()[3].startswith(f"| a fault | 7 | 0 | 0 | 7 |  | {row.day} | {row.commit} | 5 |")


def test_rows_are_kept_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FILE", tmp_path / "rows.json")
    rows = [table.row_of(Tally(fault, tried=1), 1) for fault in ("one", "other")]
    for name, row in zip(("a", "b"), rows, strict=True):
        table.keep(name, row)
    assert json.loads((tmp_path / "rows.json").read_text()) == {"a": asdict(rows[0]), "b": asdict(rows[1])}
    assert table.read()["b"] == rows[1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Bench(place=tmp_path, key=tmp_path / "key.asc").machine(tmp_path / "machine")
    for name in ("locks", "scratch", "builds"):
        (made.store / name).mkdir(parents=True)
    made.output.mkdir()
    return made


@pytest.mark.parametrize(
    "name",
    [
        "store/scratch/disk-1",
        "releases/.Small.partial",
        "releases/.index.html.0123abcd",
        "store/builds/.1.json.tmp",
    ],
)
def test_half_files_are_seen(machine: Machine, name: str) -> None:
    assert list(left(machine)) == []
    (machine.place / name).touch()
    assert half_files(machine) == [machine.place / name]
    assert list(left(machine)) == [f"{machine.place / name} is half"]
    (machine.temporary / "x").touch()
    assert f"{machine.temporary / 'x'} was left in TMPDIR" in list(left(machine))


def test_held_locks_are_seen(machine: Machine) -> None:
    import fcntl

    with (machine.store / "locks" / "disk-1").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert held_locks(machine) == [machine.store / "locks" / "disk-1"]


def test_what_was_made_again_is_lost(machine: Machine) -> None:
    file = machine.store / "artifacts" / "disk" / "1" / "artifact.json"
    file.parent.mkdir(parents=True)
    file.touch()
    finished = finished_in(machine)
    assert is_still(file, finished)
    file.with_name("other").touch()
    file.with_name("other").rename(file)
    assert not is_still(file, finished)


def test_what_grows_is_seen() -> None:
    flat = {"memory": 1 << 27, "descriptors": 10, "threads": 2, "store": 1 << 20}
    assert judge([flat] * 20) == []
    for name, more in (("memory", 1 << 26), ("descriptors", 1), ("threads", 1), ("store", 1 << 18)):
        assert judge([flat] * 19 + [{**flat, name: flat[name] + more}]), name


def test_a_tally_counts_what_is_wrong() -> None:
    tally = Tally("a fault")
    tally.count(lost=[], wrong=[], recovered=True)
    tally.check()
    tally.count(lost=["an artifact"], wrong=[], recovered=True)
    assert (tally.tried, tally.lost, tally.wrong, tally.recovered) == (2, 1, 0, 1)
    with pytest.raises(AssertionError, match="an artifact"):
        tally.check()
