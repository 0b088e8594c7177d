"""Every experiment by name: its whole amount is tried at night, the reduced one by CI."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import clocks, disks, load, races, work
from tests.faults.bench import Bench
from tests.faults.kills import killed
from tests.faults.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A fault and its amounts: `run` is given a bench, an empty place, a seed, and one of the amounts,
    `whole` or `reduced` (None: CI does without).
    """

    fault: str
    run: Callable[[Bench, Path, int, int], Tally]
    whole: int
    reduced: int | None


def kill_build(bench: Bench, place: Path, seed: int, amount: int) -> Tally:
    """Strike `all`; for ten times SIGKILL there is a SIGTERM and a Ctrl-C, at least one each."""
    other = max(1, amount // 10)
    return killed(work.build(bench), place, seed=seed, kills=amount, terms=other, interrupts=other)


def kill_command(name: str, bench: Bench, place: Path, seed: int, amount: int) -> Tally:
    """Strike a command that works on releases, or on a store."""
    nightlies = len(work.NIGHTLY_DAYS) if amount > FEW else 0
    begun = work.history(bench, place / "history", nightlies)
    (found,) = (one for one in work.commands(begun) if one.name == name)
    other = max(1, amount // 4)
    return killed(found, place, seed=seed, kills=amount, terms=other, interrupts=other)


# so many strikes are for CI, which has no time for nightlies
FEW = 2
# with root's powers over mounts: main() takes a mount namespace for itself before
EXPERIMENTS: dict[str, Experiment] = {
    "kill-all": Experiment(
        fault="all: killed, SIGTERM, Ctrl-C",
        run=kill_build,
        whole=100,
        reduced=2,
    ),
    **{
        f"kill-{name}": Experiment(
            fault=f"{name}: killed, SIGTERM, Ctrl-C",
            run=partial(kill_command, name),
            whole=20,
            reduced=None,
        )
        for name in ("promote", "prune", "gc", "verify")
    },
    "full": Experiment(
        fault="disk full: store, releases, temporary files",
        run=lambda bench, place, seed, amount: disks.full(bench, place, points=amount, seed=seed),
        whole=21,
        reduced=None,
    ),
    "read-only": Experiment(
        fault="read-only store, releases",
        run=lambda bench, place, seed, amount: disks.read_only(bench, place),  # noqa: ARG005
        whole=4,
        reduced=None,
    ),
    "strange": Experiment(
        fault="store on file systems without reflink, xattrs, O_TMPFILE",
        run=lambda bench, place, seed, amount: disks.strange(bench, place, amount),  # noqa: ARG005
        whole=len(disks.KINDS),
        reduced=None,
    ),
    "clock": Experiment(
        fault="clock jumps over a waiver's last day, and back",
        run=lambda bench, place, seed, amount: clocks.over_a_waiver(bench, place, amount),  # noqa: ARG005
        whole=len(clocks.JUMPS),
        reduced=3,
    ),
    "races": Experiment(
        fault="two builds on one store",
        run=lambda bench, place, seed, amount: races.raced(bench, place, races=amount, seed=seed),
        whole=100,
        reduced=None,
    ),
    "load": Experiment(
        fault="builds one after the other in one process",
        run=lambda bench, place, seed, amount: load.one_after_the_other(bench, place, count=amount),  # noqa: ARG005
        whole=50,
        reduced=None,
    ),
    "many": Experiment(
        fault="a store of 10,000 artifacts: nothing to do, gc",
        run=lambda bench, place, seed, amount: load.many_artifacts(bench, place, count=amount),  # noqa: ARG005
        whole=10_000,
        reduced=None,
    ),
}
