"""Paths in the store that parameters were made for are paths in the one where the step runs."""

from dataclasses import dataclass
from pathlib import Path

from imagebuild.engine.relocation import relocated
from imagebuild.kinds import Firmware
from imagebuild.smoke.trial import Run, Scope
from tests.smoke import trials

HERE, THERE = Path("/here/store"), Path("/there/store")


@dataclass(frozen=True)
class Named:
    name: str
    size: int = 3


def test_paths_of_the_store_move_wherever_they_are() -> None:
    assert relocated(HERE / "repo", HERE, THERE) == THERE / "repo"
    assert relocated(HERE, HERE, THERE) == THERE
    assert relocated([(HERE / "a", 1), {"b": HERE / "c"}], HERE, THERE) == [
        (THERE / "a", 1),
        {"b": THERE / "c"},
    ]
    run = Run(
        bench=trials.TRIAL.bench, scope=Scope(cells=HERE / "cells", saved=HERE / "saved-boots", tries=2)
    )
    moved = relocated(run, HERE, THERE)
    assert (moved.scope.cells, moved.scope.saved) == (THERE / "cells", THERE / "saved-boots")
    assert (moved.bench, moved.scope.tries) == (run.bench, 2)


def test_everything_else_stays_what_it_is() -> None:
    for value in (Path("/here/storefront"), Path("here/store"), "/here/store/repo", 7, None, Firmware.BIOS):
        assert relocated(value, HERE, THERE) == value
    record = Named("x")
    assert relocated(record, HERE, THERE) is record
    assert relocated(Named, HERE, THERE) is Named
    assert relocated(HERE / "repo", HERE, HERE) == HERE / "repo"
