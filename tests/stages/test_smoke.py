"""A verdict holds for the criteria that gave it, and no others."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from imagebuild.engine.steps import source_digest
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.smoke import attempts
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.cells import CellStore
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.trial import Trial
from imagebuild.stages import smoke
from imagebuild.stages import tree as stage
from imagebuild.tools import command, load, temporary
from imagebuild.tools.ostree.repository import Repo
from tests.smoke import trials
from tests.tools.ostree.commits import FILES, REF, make_commit


def change_source(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Have a module's file look as if it had been edited."""
    file, read = Path(str(importlib.import_module(module).__file__)), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == file else b""))
    source_digest.cache_clear()


@pytest.fixture(autouse=True)
def fresh_digests() -> Iterator[None]:
    yield
    source_digest.cache_clear()


@pytest.mark.parametrize(
    "changed",
    [
        "imagebuild.smoke.criteria.test_boots",
        "imagebuild.smoke.criteria.plugin",
        "imagebuild.smoke.criteria.fixtures",
        "imagebuild.smoke.storage.podman_overlay",
        "imagebuild.smoke.hosts.rpm_ostree",
        "imagebuild.smoke.journey",
    ],
)
def test_whatever_the_criteria_use_is_in_the_steps_key(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    before = source_digest("imagebuild.stages.smoke")
    change_source(monkeypatch, changed)
    assert source_digest("imagebuild.stages.smoke") != before


def test_a_criterion_is_in_its_own_cells_key_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, sanity = "imagebuild.smoke.criteria.plugin", "imagebuild.smoke.criteria.test_sanity"
    before = source_digest(plugin), source_digest(sanity)
    change_source(monkeypatch, sanity)
    assert source_digest(plugin) == before[0]
    assert source_digest(sanity) != before[1]


@pytest.mark.parametrize("there", [True, False])
def test_hosts_with_atomic_are_told_by_it_too(tmp_path: Path, there: bool) -> None:
    (tmp_path / "work").mkdir()
    repo = Repo.ensure(tmp_path / "repo")
    files = (
        FILES
        | {"usr/bin/rpm-ostree": b"x"}
        | ({"usr/share/atomic/atomic": b"#!/usr/bin/python3"} if there else {})
    )
    # atomic 1.19, Makefile
    commit = make_commit(repo, tmp_path / "work", files, links={"usr/bin/atomic": "../share/atomic/atomic"})
    tree = stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    promise = smoke.promise_of(tree, (), trials.TERMS)
    ways = [commands.name for commands in HOSTS[promise.host_kind].ways(atomic=promise.atomic)]
    assert ways == ["rpm-ostree", *(["atomic host"] if there else [])]


def run_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int, *ends: tuple[State, str]
) -> tuple[State, int, int]:
    """Run made-up attempts; return how the last one ended, how many there were, and how often it was waited
    for a quieter machine.
    """
    left = list(ends)
    restores: list[bool] = []
    waited: list[int] = []

    def once(out: Path, trial: Trial) -> tuple[Cell, ...]:
        assert trial.scope.cells is not None
        restores.append(trial.scope.restore)
        state, reason = left.pop(0)
        cell = Cell(
            criterion="artifact-boots",
            artifact="a",
            firmware=Firmware.BIOS,
            state=state,
            reason=reason,
            evidence="x",
            seconds=1.0,
        )
        return (CellStore(trial.scope.cells, trial).keep(cell, "imagebuild.smoke.criteria.test_boots"),)

    evidence = tmp_path / "evidence"
    evidence.mkdir()
    trial = trials.trial(evidence, tries=tries)
    monkeypatch.setattr(attempts, "run_once", once)
    monkeypatch.setattr(load, "wait_for_quiet", waited.append)
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    (cell,) = attempts.run_criteria(tmp_path, trial)
    assert len(list(evidence.glob("try-*"))) == len(ends) - len(left) - 1
    # what is tried again boots
    assert restores == [number == 0 for number in range(len(restores))]
    return cell.state, len(ends) - len(left), len(waited)


FAILED, PASSED = (State.FAILED, "wrong"), (State.PASSED, "")
BROKE, BUSY = (State.ERROR, "no connection"), (State.ERROR, f"{STARVED}: of 900 s …")


@pytest.mark.parametrize(
    ("tries", "attempts", "ends"),
    [
        (2, (BUSY, PASSED), (State.PASSED, 2, 1)),  # never flaky
        (1, (BUSY, PASSED), (State.PASSED, 2, 1)),
        (2, (FAILED, PASSED), (State.FLAKY, 2, 0)),
        (2, (BROKE, PASSED), (State.PASSED, 2, 0)),
        (2, (BUSY, FAILED, PASSED), (State.FLAKY, 3, 1)),  # what the rig broke was not a try
        (2, (BUSY, BUSY, PASSED), (State.ERROR, 2, 1)),  # nobody tries for ever
        (1, (FAILED, PASSED), (State.FAILED, 1, 0)),
        (2, (FAILED, FAILED, PASSED), (State.FAILED, 2, 0)),
        (2, (PASSED,), (State.PASSED, 1, 0)),
    ],
)
def test_a_rig_that_broke_is_no_try(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tries: int,
    attempts: tuple[tuple[State, str], ...],
    ends: tuple[State, int, int],
) -> None:
    assert run_of(tmp_path, monkeypatch, tries, *attempts) == ends


def test_what_the_criteria_make_belongs_to_who_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trials.trial(tmp_path)
    cell = Cell(
        criterion="boots",
        artifact="a",
        firmware=Firmware.BIOS,
        state=State.PASSED,
        reason="",
        evidence="serial.log",
        seconds=1.0,
    )
    left: list[Path] = []

    def killed(argv: list[str], *, env: dict[str, str], **_: object) -> str:
        for place in json.loads(env[temporary.PLACES]):
            (Path(place) / "guest-0000.secret").mkdir()
            left.append(Path(place))
        (tmp_path / "cells.json").write_bytes(TypeAdapter(list[Cell]).dump_json([cell]))
        return ""

    monkeypatch.setattr(command, "run", killed)
    assert attempts.run_once(tmp_path, trial) == (cell,)
    assert len(left) == 2
    assert not any(place.exists() for place in left)
