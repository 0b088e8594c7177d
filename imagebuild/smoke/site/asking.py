"""Whether a site's criterion is asked of a guest, how long it may take, and one that cannot be loaded."""

import contextlib
import signal
from collections.abc import Iterator, Sequence
from types import FrameType

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.trial import Trial

MIB = 1 << 20


def refuse(trial: Trial, site: SiteCriterion) -> None:
    """Raise NotApplicableError for a guest that it is not for, NotTestedError where it cannot be tested; both
    are its evidence, too.
    """
    reason = site.reason_not_for(trial.bench.firmware, trial.bench.accelerator.arch)
    untested = site.untested
    if not untested and site.memory > trial.bench.memory:
        untested = (
            f"it needs {site.memory // MIB} MiB of memory, and guests have {trial.bench.memory // MIB}"
            " (smoke.memory)"
        )
    if reason or untested:
        (trial.evidence / f"{site.name}.log").write_text(f"{reason or untested}\n")
    if reason:
        raise NotApplicableError(reason)
    if untested:
        raise NotTestedError(untested)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what runs here after so many seconds. Raises AssertionError."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"it did not end within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def not_loaded(trial: Trial, names: Sequence[str], problem: str) -> list[Cell]:
    """Return the cells of criteria whose file could not be loaded."""
    for name in names:
        (trial.evidence / f"{name}.log").write_text(problem)
    last = next((line for line in reversed(problem.splitlines()) if line.strip()), "no reason is known")
    return [
        Cell(
            criterion=name,
            artifact=trial.subject.artifact,
            firmware=trial.bench.firmware,
            state=State.ERROR,
            reason=f"its file cannot be loaded: {last.removeprefix('E').strip()}",
            evidence=f"{name}.log",
            seconds=0.0,
        )
        for name in names
    ]
