"""The criteria are run by pytest in a process of its own, as often as it takes to tell chance from defect."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke import verdict
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.trial import Trial, write_trial
from imagebuild.tools import command, environment, load, temporary

if TYPE_CHECKING:
    # pytest loads these by name in the child; an import is what puts them into the key of who runs them
    # (engine/steps.py, source_digest), and importing them here would cost pytest
    from imagebuild.smoke.criteria import fixtures, plugin  # noqa: F401  # see above

# pytest(1): all passed, some failed, none to run (all were known already); anything else is trouble of its
# own
FINE = (0, 1, 5)
# how often the rig may break: each time the machine is let come to rest first
RIG_TRIES = 2
CELLS = "cells.json"
PLUGIN = "imagebuild.smoke.criteria.plugin"
# seen from where it runs: pytest replaces variables in a --rootdir (8.3, config/findpaths.py,
# determine_setup)
OPTIONS = (
    "-c", "pytest.ini", "--rootdir", ".", "-p", "no:cacheprovider", "--color=no", "-v", "-rN", "--tb=short",
)  # fmt: skip


def run_criteria(out: Path, trial: Trial) -> tuple[Cell, ...]:
    """Run the criteria; what failed is tried again on another guest, and is flaky when it passes then.

    A rig that broke says nothing of the product: that does not count as a try, and what passes after it has
    passed. Raises BuildError when the criteria did not run at all.
    """
    failures = errors = attempts = 0
    # without a place to keep cells between runs, one for this run
    kept = out / "cells"
    scope = replace(trial.scope, cells=trial.scope.cells or kept)
    while True:
        # what failed is tried on a guest that boots: a copy of one boot would fail as that one did
        scope = replace(scope, restore=scope.restore and attempts == 0)
        cells = run_once(out, replace(trial, scope=scope))
        attempts += 1
        states = {cell.state for cell in cells}
        failures, errors = failures + (State.FAILED in states), errors + (State.ERROR in states)
        enough = failures >= max(1, scope.tries) or errors >= RIG_TRIES
        if enough or not states & {State.FAILED, State.ERROR}:
            break
        steplog.note("trying again what did not pass, on another guest")
        if any(cell.state is State.ERROR and STARVED in cell.reason for cell in cells):
            load.wait_for_quiet(trial.bench.cores)
        _set_aside(trial.evidence, f"try-{attempts}")
    shutil.rmtree(kept, ignore_errors=True)
    return cells


def _set_aside(evidence: Path, name: str) -> None:
    """Move what there is of evidence into a directory of its own: the next try would write over it."""
    target = evidence / name
    target.mkdir()
    for path in [path for path in evidence.iterdir() if not path.name.startswith("try-")]:
        path.rename(target / path.name)


def run_once(out: Path, trial: Trial) -> tuple[Cell, ...]:
    """Run the criteria once. Raises BuildError when that did not work."""
    write_trial(out / "trial.json", trial)
    (out / "pytest.ini").write_text("[pytest]\n")
    argv: list[str | Path] = [sys.executable, "-m", "pytest", "-p", PLUGIN, *OPTIONS]
    argv += ["--pyargs", "imagebuild.smoke.criteria", "--trial", out / "trial.json"]
    shown = ["pytest", "imagebuild.smoke.criteria"]
    try:
        # it shares cells through the object store, if any
        known = environment.whole() if trial.scope.cells_remote is not None else {}
        with temporary.for_child("criteria") as places:
            command.run(argv, accept=FINE, cwd=out, env={**known, **places}, shown=shown)
    except command.CommandError as error:
        raise BuildError(
            f"the criteria could not be run on {trial.subject.artifact}: {error.message}",
            hint="the log has pytest's own words",
        ) from error
    return read_cells(trial.evidence)


def read_cells(evidence: Path) -> tuple[Cell, ...]:
    """Return the cells that the criteria wrote. Raises BuildError when there are none: then nothing was
    tested.
    """
    file = evidence / CELLS
    cells = verdict.read(file) if file.exists() else ()
    if not cells:
        raise BuildError("the criteria did not run", hint="the log has pytest's own words")
    return cells
