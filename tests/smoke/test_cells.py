"""Finished cells are kept as long as nothing they depend on changes; what passes at another try is flaky;
waivers expire.
"""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Cell, Waiver
from imagebuild.smoke.cells import UNUSED_DAYS, CellStore, collect, content_digest
from imagebuild.smoke.trial import Trial
from imagebuild.smoke.waivers import waived
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from tests.smoke import trials

MODULE = "imagebuild.smoke.criteria.test_sanity"


@pytest.fixture(autouse=True)
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "version", lambda _: "7.2")


def trial(tmp_path: Path, **changed: Any) -> Trial:
    evidence = tmp_path / "evidence"
    evidence.mkdir(exist_ok=True)
    return trials.trial(evidence, **{"digest": "00", "cells": tmp_path / "cells"} | changed)


def cell(state: State = State.PASSED, reason: str = "") -> Cell:
    return Cell(
        criterion="tmp",
        artifact="a",
        firmware=Firmware.BIOS,
        state=state,
        reason=reason,
        evidence="tmp.log",
        seconds=1.0,
    )


def store(tmp_path: Path, **changed: Any) -> CellStore:
    return CellStore(tmp_path / "cells", trial(tmp_path, **changed))


def test_a_passed_cell_is_kept_with_its_log_and_says_so(tmp_path: Path) -> None:
    first = store(tmp_path)
    (tmp_path / "evidence" / "tmp.log").write_text("$ stat\n")
    assert first.keep(cell(), MODULE) == cell()
    (tmp_path / "evidence" / "tmp.log").unlink()
    kept = store(tmp_path).find("tmp", MODULE)
    assert kept is not None
    assert kept.state is State.PASSED
    assert "kept" in kept.reason
    assert (tmp_path / "evidence" / "tmp.log").read_text() == "$ stat\n"


@pytest.mark.parametrize(
    "changed",
    [
        {"digest": "01"},
        # raw.xz and raw.zst hold the same file: booting is tested for each
        {"artifact": "b"},
        {"firmware": Firmware.UEFI},
        {"controller": Controller.IDE},
        {"commit": "d"},
        {"update_verify": False},
        {"grow": 1},
        {"accelerator": Accelerator(name="kvm", slowness=1, reason="")},
    ],
)
def test_whatever_matters_is_in_the_key(tmp_path: Path, changed: dict[str, Any]) -> None:
    store(tmp_path).keep(cell(), MODULE)
    assert store(tmp_path).find("tmp", MODULE) is not None
    assert store(tmp_path, **changed).find("tmp", MODULE) is None


def test_another_qemu_or_criterion_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path).keep(cell(), MODULE)
    assert store(tmp_path).find("tmp", "imagebuild.smoke.criteria.test_boots") is None
    monkeypatch.setattr(command, "version", lambda _: "8.0")
    assert store(tmp_path).find("tmp", MODULE) is None


def test_how_fast_the_guest_runs_is_not(tmp_path: Path) -> None:
    store(tmp_path).keep(cell(), MODULE)
    assert (
        store(tmp_path, accelerator=Accelerator(name="tcg", slowness=9, reason="x")).find("tmp", MODULE)
        is not None
    )


@pytest.mark.parametrize("state", [State.FAILED, State.ERROR, State.NOT_TESTED])
def test_what_did_not_pass_is_not_kept(tmp_path: Path, state: State) -> None:
    assert store(tmp_path).keep(cell(state, "why"), MODULE).state is state
    assert store(tmp_path).find("tmp", MODULE) is None


def test_what_passes_at_another_try_is_flaky_and_stays_so(tmp_path: Path) -> None:
    store(tmp_path).keep(cell(State.FAILED, "the product is wrong\nmore"), MODULE)
    flaky = store(tmp_path).keep(cell(), MODULE)
    assert flaky.state is State.FLAKY
    assert "the product is wrong" in flaky.reason
    kept = store(tmp_path).find("tmp", MODULE)
    assert kept is not None
    assert kept.state is State.FLAKY


def test_a_rig_that_broke_makes_nothing_flaky(tmp_path: Path) -> None:
    store(tmp_path).keep(cell(State.ERROR, "no connection"), MODULE)
    assert store(tmp_path).keep(cell(), MODULE).state is State.PASSED


def test_a_digest_tells_content_and_place(tmp_path: Path) -> None:
    sparse, moved, other = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for file, offset, data in ((sparse, 1 << 20, b"x"), (moved, 2 << 20, b"x"), (other, 1 << 20, b"y")):
        with file.open("wb") as stream:
            stream.truncate(8 << 20)
            stream.seek(offset)
            stream.write(data * 4096)
    assert len({content_digest(file) for file in (sparse, moved, other)}) == 3
    assert content_digest(sparse) == content_digest(sparse)


def test_a_digest_does_not_tell_how_a_file_lies_on_its_disk(tmp_path: Path) -> None:
    """ext4 allocates what was written when it writes it out: the same file has other holes a minute later."""
    content = bytes(100_000) + b"x" + bytes(5 << 20) + b"y" + bytes(70_000)
    written, sparse, longer = tmp_path / "written", tmp_path / "sparse", tmp_path / "longer"
    written.write_bytes(content)
    longer.write_bytes(content + b"\0")
    with sparse.open("wb") as stream:
        stream.truncate(len(content))
        for place in (content.index(b"x"), content.index(b"y")):
            stream.seek(place)
            stream.write(content[place : place + 1])
    assert sparse.stat().st_blocks < written.stat().st_blocks
    assert content_digest(sparse) == content_digest(written) != content_digest(longer)


def test_the_first_boot_is_kept_with_them(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    first = store(tmp_path)
    (evidence / "boots.json").write_text('[{"name": "first", "phases": {"firmware": 1}}]')
    first.keep_boot()
    assert not first.knows_boot(), "it did not come up"
    (evidence / "boots.json").write_text('[{"name": "first", "phases": {"ssh": 60}}]')
    (evidence / "journal.txt").write_text("kernel: Command line: x\n")
    first.keep_boot()
    first.keep_boot()
    for file in evidence.iterdir():
        file.unlink()
    assert not store(tmp_path, artifact="b").knows_boot()
    again = store(tmp_path)
    assert again.knows_boot()
    again.find_boot()
    assert sorted(file.name for file in evidence.iterdir()) == ["boots.json", "journal.txt"]


def test_what_nobody_has_looked_at_for_long_goes(tmp_path: Path) -> None:
    store(tmp_path).keep(cell(), MODULE)
    store(tmp_path, artifact="b").keep(cell(), MODULE)
    long_ago = time.time() - (UNUSED_DAYS + 1) * 24 * 3600
    for directory in (tmp_path / "cells").iterdir():
        os.utime(directory, (long_ago, long_ago))
    assert store(tmp_path).find("tmp", MODULE) is not None
    assert collect(tmp_path / "cells") > 0
    assert store(tmp_path).find("tmp", MODULE) is not None
    assert store(tmp_path, artifact="b").find("tmp", MODULE) is None
    assert collect(tmp_path / "nothing") == 0


WAIVER = Waiver(
    criterion="tmp", artifact="a*", firmware=None, who="Ada", why="bug 1", until="2030-01-01", expired=False
)


@pytest.mark.parametrize("state", [State.FAILED, State.FLAKY, State.NOT_TESTED, State.ERROR])
def test_a_waiver_says_who_why_and_until_when(state: State) -> None:
    found = waived(cell(state, "broken"), [WAIVER])
    assert found.state is State.WAIVED
    assert all(word in found.reason for word in ("Ada", "bug 1", "2030-01-01", "broken", str(state)))


@pytest.mark.parametrize(
    "changed", [{"expired": True}, {"criterion": "other"}, {"artifact": "b*"}, {"firmware": Firmware.UEFI}]
)
def test_other_and_expired_waivers_do_not_count(changed: dict[str, Any]) -> None:
    found = waived(cell(State.FAILED, "broken"), [replace(WAIVER, **changed)])
    assert found.state is State.FAILED
    assert ("expired" in found.reason) == changed.get("expired", False)


def test_what_passed_needs_no_waiver() -> None:
    assert waived(cell(), [WAIVER]) == cell()
