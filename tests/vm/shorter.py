"""imagebuild with fewer criteria: `python -m tests.vm.shorter ARGUMENTS OF imagebuild`.

CI has no time for every journey of a host: those that go the same ways once more, and the one whose guest is
rebuilt from a record, are left to the night (`make test-all`), which runs the product as it is. Nothing else
differs: the criteria that are left out are neither run nor asked for when the release is signed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imagebuild.cli.main import main
from imagebuild.model import Cell
from imagebuild.smoke import attempts
from imagebuild.smoke.criteria import registry
from imagebuild.smoke.trial import Trial

PROGRAM = ("-m", "tests.vm.shorter")
# a host that comes from the release before and goes to older ones; a second upgrade; a power cut
LEFT_OUT = frozenset((
    "deploys-an-older-release-when-fresh",
    "deploys-an-older-release-when-upgraded",
    "survives-a-power-cut",
    "upgrades-again-after-a-rollback",
    "upgrades-from-the-previous-release",
))  # fmt: skip


def without(names: Sequence[str]) -> tuple[str, ...]:
    """Return names without those that are left out."""
    return tuple(name for name in names if name not in LEFT_OUT)


def arrange() -> None:
    """Leave them out."""
    run_once, required = attempts.run_once, registry.required

    def run_fewer(out: Path, trial: Trial) -> tuple[Cell, ...]:
        wanted = trial.scope.criteria or required(
            atomic=trial.promise.atomic, older=[each.name for each in trial.promise.older]
        )
        return run_once(out, replace(trial, scope=replace(trial.scope, criteria=without(wanted))))

    def required_fewer(
        *, atomic: bool, installer: bool = False, older: Sequence[str] = ()
    ) -> tuple[str, ...]:
        return without(required(atomic=atomic, installer=installer, older=older))

    attempts.run_once = run_fewer
    registry.required = required_fewer


if __name__ == "__main__":
    arrange()
    main()
