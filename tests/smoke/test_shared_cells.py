"""Finished cells are shared by machines that have a remote store; saved boots, which have a log-in key, never
are.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuild.engine.steps import source_digest
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.smoke import cells
from imagebuild.smoke.cells import BOOT, CellStore
from imagebuild.tools import command
from tests.smoke import trials

MODULE = "imagebuild.smoke.criteria.test_sanity"


@pytest.fixture(autouse=True)
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    monkeypatch.setattr(cells, "_away", set())


def cell(state: State, reason: str = "") -> Cell:
    return Cell(
        criterion="tmp",
        artifact="a",
        firmware=Firmware.BIOS,
        state=state,
        reason=reason,
        evidence="tmp.log",
        seconds=1.0,
    )


class Machine:
    """A machine with cells of its own, and a remote that it shares with others."""

    def __init__(self, place: Path, remote: str) -> None:
        self.place, self.evidence = place / "cells", place / "evidence"
        self.evidence.mkdir(parents=True)
        known: dict[str, Any] = {"digest": "00", "cells": self.place, "cells_remote": remote}
        self.store = CellStore(self.place, trials.trial(self.evidence, **known))

    def test(self, state: State, reason: str = "") -> Cell:
        (self.evidence / "tmp.log").write_text(f"tested in {self.evidence}\n")
        return self.store.keep(cell(state, reason), MODULE)


@pytest.fixture
def remote(tmp_path: Path) -> str:
    (tmp_path / "share").mkdir()
    return f"file://{tmp_path}/share"


def test_what_passed_on_one_machine_is_not_tested_on_another(tmp_path: Path, remote: str) -> None:
    one, two = Machine(tmp_path / "one", remote), Machine(tmp_path / "two", remote)
    assert two.store.find("tmp", MODULE) is None
    one.test(State.PASSED)
    found = two.store.find("tmp", MODULE)
    assert found is not None
    assert found.state is State.PASSED
    assert (two.evidence / "tmp.log").read_text() == f"tested in {one.evidence}\n"
    # from now on it is there, whatever becomes of the remote
    for file in (tmp_path / "share").rglob("cells/*"):
        file.unlink()
    assert Machine(tmp_path / "two" / "again", remote).store.find("tmp", MODULE) is None
    assert two.store.find("tmp", MODULE) is not None


def test_what_failed_on_one_machine_and_passes_on_another_is_flaky(tmp_path: Path, remote: str) -> None:
    Machine(tmp_path / "one", remote).test(State.FAILED, "no luck")
    two = Machine(tmp_path / "two", remote)
    assert two.store.find("tmp", MODULE) is None
    assert two.test(State.PASSED).state is State.FLAKY
    three = Machine(tmp_path / "three", remote).store.find("tmp", MODULE)
    assert three is not None
    assert three.state is State.FLAKY
    assert "no luck" in three.reason


def test_an_error_of_the_rig_is_nobodys(tmp_path: Path, remote: str) -> None:
    Machine(tmp_path / "one", remote).test(State.ERROR, "no memory")
    assert Machine(tmp_path / "two", remote).test(State.PASSED).state is State.PASSED


def test_a_first_boot_is_shared_with_what_it_left(tmp_path: Path, remote: str) -> None:
    one, two = Machine(tmp_path / "one", remote), Machine(tmp_path / "two", remote)
    assert not two.store.knows_boot()
    (one.evidence / BOOT[0]).write_text(json.dumps([{"phases": {"ssh": 3.0}}]))
    (one.evidence / "serial.log").write_text("Linux version\n")
    (one.evidence / "key").write_text("a private key")
    one.store.keep_boot()
    assert two.store.knows_boot()
    two.store.find_boot()
    assert (two.evidence / "serial.log").read_text() == "Linux version\n"
    assert not (two.evidence / "key").exists()


def test_a_cell_that_was_tampered_with_is_tested_again(tmp_path: Path, remote: str) -> None:
    Machine(tmp_path / "one", remote).test(State.PASSED)
    edits: list[Callable[[bytes], bytes]] = [
        lambda data: data[:-4],
        lambda data: b"0" * 64 + data[64:],
        lambda _: b"",
    ]
    for number, edit in enumerate(edits):
        for file in (tmp_path / "share" / "cells").iterdir():
            file.write_bytes(edit(file.read_bytes()))
        cells._away.clear()
        assert Machine(tmp_path / f"{number}", remote).store.find("tmp", MODULE) is None


def test_a_remote_that_is_away_holds_nothing_up(tmp_path: Path) -> None:
    one = Machine(tmp_path / "one", "file:///nonexistent/share")
    assert one.store.find("tmp", MODULE) is None
    assert one.test(State.PASSED).state is State.PASSED
    assert one.store.find("tmp", MODULE) is not None
    assert cells._away == {"file:///nonexistent/share"}


def test_how_cells_travel_is_in_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    source_digest.cache_clear()
    before = source_digest("imagebuild.smoke.cells")
    source_digest.cache_clear()
    real = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda file: real(file) + (b"#" if file.name in ("shelf.py", "packs.py") else b"")
    )
    assert source_digest("imagebuild.smoke.cells") == before
    source_digest.cache_clear()
