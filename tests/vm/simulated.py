"""imagebuild with guests that are only simulated: `python -m tests.vm.simulated ARGUMENTS OF imagebuild`.

A program runs for as long as a guest would, and every criterion of the trial has passed then. The cells are
written as criteria/plugin.py of this code writes them, which tests/smoke checks against real pytest runs.
"""

from pathlib import Path

from imagebuild.cli.main import main
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke import attempts, verdict
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.trial import Trial
from imagebuild.tools import command

SECONDS: float = 20


def run_once(out: Path, trial: Trial) -> tuple[Cell, ...]:
    """Take the place of attempts.run_once."""
    del out
    command.run(["sleep", str(SECONDS)])
    (trial.evidence / "serial.log").write_text("a simulated guest\n")
    wanted = trial.scope.criteria or criteria.required(atomic=trial.promise.atomic)
    cells = tuple(
        Cell(
            criterion=name,
            artifact=trial.subject.artifact,
            firmware=trial.bench.firmware,
            state=State.PASSED,
            reason="",
            evidence="serial.log",
            seconds=1.0,
        )
        for name in wanted
    )
    verdict.write(trial.evidence / attempts.CELLS, cells)
    return cells


if __name__ == "__main__":
    attempts.run_once = run_once
    main()
