"""A clock that jumps over a waiver's last day, forward and back again: the verdict follows the day that the
clock has, and what was finished before is not made again.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.faults.bench import Bench, Machine
from tests.faults.leftovers import left
from tests.faults.small import CLOCK
from tests.faults.small_steps import FAILS
from tests.faults.tally import Tally

WAIVER = """waivers:
  - {{criterion: {criterion}, artifact: "*", who: a tester, why: the clock jumps, until: {until}}}
"""
CRITERION = "the-disk-grows"
DAY = 24 * 3600
FIT, UNFIT = 0, 3


# seconds from the end of the waiver's last day -> how a build that begins then ends. What counts is when it
# begins, and to begin takes a while
JUMPS: tuple[tuple[float, int], ...] = (
    (-3600, FIT), (1, UNFIT), (-3600, FIT), (7 * DAY, UNFIT), (-30 * DAY, FIT), (5, UNFIT), (-600, FIT),
    (300, UNFIT),
)  # fmt: skip


def over_a_waiver(bench: Bench, place: Path, count: int) -> Tally:
    """Build a line with a criterion that fails and is waived, while the clock jumps."""
    tally, now = Tally("clock jumps over a waiver's last day, and back"), datetime.now(UTC)
    until = WAIVER.format(criterion=CRITERION, until=now.date())
    end = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), tzinfo=UTC)
    machine = bench.machine(place / "machine", more=until)
    disks: set[str] = set()
    for from_the_end, code in JUMPS[:count]:
        wrong_by = from_the_end + (end - datetime.now(UTC)).total_seconds()
        ended = machine.run(
            *machine.all("--only", "qcow2"), **{CLOCK: str(wrong_by), FAILS: CRITERION, "TZ": "UTC"}
        )
        wrong = (
            []
            if ended.code == code
            else [f"{from_the_end} s: it ended with {ended.code}: {ended.said[-1500:]}"]
        )
        if code == UNFIT and "has expired" not in told(machine):
            wrong.append(f"{from_the_end} s: it does not say that the waiver has expired")
        made = {str(file) for file in machine.store.glob("artifacts/disk.*/*")}
        lost = [f"{from_the_end} s: the disk was made once more"] if disks and made != disks else []
        disks = made
        tally.count(lost=lost, wrong=[*wrong, *left(machine)], recovered=ended.code == code)
    return tally


def told(machine: Machine) -> str:
    """Return what the report of the last build says."""
    return (machine.output / "verdict.json").read_text()
