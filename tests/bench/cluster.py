"""Figures of scheduling (`make bench`): a nightly of many refs on simulated workers, whose steps sleep as
long as those of a recorded build took, scaled; and what planning costs.

The graph is that of configs/debian-12.yaml, wired; the seconds are those of one `make demo` on two cores
without KVM (tests/data/nightly_seconds.json). No schedule can be shorter than the longest chain of steps, nor
than all core seconds divided by all cores: the greater of the two is the bound (R. L. Graham, 1969). Head and
workers are processes on loopback, TLS on.

    python -m tests.bench.cluster [overhead] [plan] [nightly [WORKERS…]]
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.priorities import remaining_seconds
from imagebuild.engine.steps import Step, gather, inputs, step
from imagebuild.pipeline import wire
from imagebuild.stages.tree import Pin
from imagebuild.wiring.builder import Builder
from tests.cluster.lab import Lab, lab
from tests.cluster.steps import rest, write
from tests.data import DATA
from tests.engine.building import Recorder
from tests.wiring import TCG, settings

REFS, ARCHES = 6, 3
WORKERS = (1, 2, 4, 8)
# of each simulated worker; a guest has one
CORES = 4
# the bound of a nightly, to which its seconds are scaled: what a step costs beside its sleep must not count
# more than it would in a real one, whose steps take minutes
BOUND_SECONDS = 60.0
# nor is a step shorter than that in the mean
STEP_SECONDS = 1.0
# what a step is assumed to take that the recorded build did not have
OTHER_SECONDS = 20.0
CHAIN = 60
PLANNED = 10_000
LIMITS = {
    "overhead of a step, ms": 50.0,
    "plan of 10,000 steps, s": 5.0,
    "plan of 10,000 steps, MiB": 500.0,
}
LEAST_EFFICIENCY = 0.9


def recorded() -> dict[str, float]:
    seconds: dict[str, float] = json.loads((DATA / "nightly_seconds.json").read_text())
    return seconds


def simulated(name: str, scale: float) -> tuple[Step[Any], dict[str, float]]:
    """Return the last step of one ref on one architecture, simulated; and name -> seconds of all."""
    real = wire(settings(), Pin(ref=settings().the_ref(), commit="ab" * 32), _builder())
    usual, made, seconds = recorded(), dict[Step[Any], Step[Any]](), dict[str, float]()
    for one in planning.order([real.release]):
        own = f"{one.name} of {name}"
        seconds[own] = usual.get(one.name, OTHER_SECONDS) * scale
        made[one] = step(
            own,
            rest,
            own,
            seconds[own],
            gather([made[each] for each in dict.fromkeys(inputs(one))]),
            cost=replace(one.cost, needs=(), guests=0, memory=0),
        )
    return made[real.release], seconds


def _builder() -> Builder:
    return Builder(repo=Path("/repo"), accelerator=TCG, populate=("native",))


def bound_of(goals: Sequence[Step[Any]], seconds: dict[str, float], cores: int) -> float:
    """Return the seconds that no schedule can beat."""
    every = planning.order(goals)
    longest = max(remaining_seconds(every, seconds).values())
    areas = [
        sum(seconds[one.name] * one.cost.cores for one in every if one.cost.background == background) / cores
        for background in (False, True)
    ]
    return max(longest, *areas)


def nightly(scale: float) -> tuple[list[Step[Any]], dict[str, float]]:
    """Return the last steps of all refs and architectures, and name -> seconds of all steps."""
    goals, seconds = list[Step[Any]](), dict[str, float]()
    for ref in range(REFS):
        for arch in range(ARCHES):
            goal, own = simulated(f"ref {ref} on arch {arch}", scale)
            goals.append(goal)
            seconds |= own
    return goals, seconds


def run_nightly(place: Path, workers: int) -> tuple[float, int]:
    """Return the efficiency of a nightly on so many workers, and its steps."""
    goals, seconds = nightly(1.0)
    least = BOUND_SECONDS / bound_of(goals, seconds, workers * CORES)
    goals, seconds = nightly(max(least, STEP_SECONDS * len(seconds) / sum(seconds.values())))
    with lab(place) as made:
        _start(made, workers)
        store = DirectoryStore(made.store)
        # what builds before have recorded
        store.remember({}).close("over")
        _write_spans(made.store, seconds)
        with made.client(store) as dispatcher:
            begun = time.monotonic()
            outcome = graph.build(goals, store, dispatcher, listener=Recorder())
            wall = time.monotonic() - begun
    assert not outcome.failed
    bound = bound_of(goals, seconds, workers * CORES)
    print(f"    {workers} workers: {wall:.1f} s, bound {bound:.1f} s", flush=True)
    return bound / wall, len(seconds)


def _write_spans(store: Path, seconds: dict[str, float]) -> None:
    file = next((store / "builds").glob("*.json")).with_suffix(".timeline")
    rows = [
        {"step": name, "begin": 0.0, "end": each, "state": "done", "background": False}
        for name, each in seconds.items()
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _start(made: Lab, workers: int) -> None:
    made.start_head()
    for number in range(workers):
        made.start_worker(f"worker {number}", cores=CORES, memory=1 << 20, tools=None, wait=False)
    for number in range(workers):
        made.wait_for(f"worker {number}")


def overhead() -> dict[str, float]:
    """Return what a step costs beside what it does: a chain of steps that do nothing."""
    with tempfile.TemporaryDirectory() as place, lab(Path(place)) as made:
        _start(made, 1)
        goal: Step[Any] = step("first", write, "x")
        for number in range(CHAIN):
            goal = step(f"link {number}", rest, str(number), 0.0, gather([goal]))
        store = DirectoryStore(made.store)
        with made.client(store) as dispatcher:
            begun = time.monotonic()
            outcome = graph.build([goal], store, dispatcher, listener=Recorder())
            wall = time.monotonic() - begun
    assert not outcome.failed
    return {"overhead of a step, ms": wall / CHAIN * 1000}


def plan() -> dict[str, float]:
    """Return what it takes to plan as many real steps as there are in 200 refs; wiring them is not
    counted.
    """
    config, goals, count = settings(), list[Step[Any]](), 0
    while count < PLANNED:
        pinned = Pin(ref=config.the_ref(), commit=f"{len(goals):064x}")
        goals.append(wire(config, pinned, _builder()).release)
        count += len(planning.order([goals[-1]]))
    with tempfile.TemporaryDirectory() as place:
        begun = time.process_time()
        planned = planning.plan(goals, DirectoryStore(Path(place)))
        spent = time.process_time() - begun
    assert len(planned) == count
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"plan of 10,000 steps, s": spent * PLANNED / count, "plan of 10,000 steps, MiB": peak}


def main(argv: Sequence[str]) -> int:
    parts = [word for word in argv if not word.isdigit()] or ["plan", "overhead", "nightly"]
    counts = [int(word) for word in argv if word.isdigit()] or list(WORKERS)
    measured: dict[str, float] = {}
    bad = 0
    if "plan" in parts:
        measured |= plan()
    if "overhead" in parts:
        measured |= overhead()
    for name, value in measured.items():
        bad += value > LIMITS[name]
        print(f"{name}: {value:.1f} (at most {LIMITS[name]:g})", flush=True)
    for workers in counts if "nightly" in parts else ():
        with tempfile.TemporaryDirectory() as place:
            efficiency, steps = run_nightly(Path(place), workers)
        bad += efficiency < LEAST_EFFICIENCY
        print(
            f"efficiency of {steps} steps on {workers} workers of {CORES} cores: {efficiency:.3f}"
            f" (at least {LEAST_EFFICIENCY})",
            flush=True,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
