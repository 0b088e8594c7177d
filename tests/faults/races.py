"""Two builds on one store: each artifact is made once, and both release the same."""

import random
import time
from collections import Counter
from pathlib import Path

from tests.faults.bench import Bench
from tests.faults.kills import Undisturbed, difference
from tests.faults.leftovers import left
from tests.faults.small import SETTLED
from tests.faults.tally import Tally
from tests.faults.work import build, forget

# one begins that many seconds after the other, at most
LATER = 3.0


def raced(bench: Bench, place: Path, *, races: int, seed: int) -> Tally:
    """Start two builds that race for each artifact, and for the release, that often."""
    tally, work, chance = Tally("two builds on one store"), build(bench), random.Random(f"{seed} races")
    whole = Undisturbed(work, place)
    for _ in range(races):
        machine = work.begin(place / "machine")
        settled = machine.place / "settled"
        first = machine.start(*work.argv(machine), **{SETTLED: str(settled)})
        time.sleep(chance.uniform(0, LATER))
        second = machine.start(*work.argv(machine), **{SETTLED: str(settled)})
        ends = [first.end(), second.end()]
        wrong = [f"one ended with {ended.code}: {ended.said[-1500:]}" for ended in ends if ended.code != 0]
        made = Counter(settled.read_text().split())
        wrong += [f"{name} was made {count} times" for name, count in made.items() if count > 1]
        wrong += [*left(machine), *difference(work, machine, whole)]
        tally.count(lost=[], wrong=wrong, recovered=not wrong)
        forget(machine)
    forget(whole.machine)
    return tally
