"""Which worker takes a step: one that would compute the step's key itself, can do what it needs and has room
now; of these the one with most of the step's inputs.

dask's own `decide_worker` (distributed/scheduler.py, 2026.8) looks at what a worker has in all, not at what
is free; forgets resources where it prefers a worker with the inputs; and estimates durations by a function's
name.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imagebuild.cluster.abilities import (
    OF_THE_ORDER,
    Abilities,
    own_version,
    python_version,
    source_of_imagebuild,
)
from imagebuild.engine.steps import Cost, Step

Pair = tuple[str, str]
# amounts of dask's resources
CORES, MEMORY = "cores", "MiB"
BACKGROUND = "background-"
CORE_AMOUNTS = (CORES, BACKGROUND + CORES)
MIB = 1024 * 1024
# more than that of reasons is not read
SHOWN = 3


@dataclass(kw_only=True)
class Worker:
    """A worker as a client sees it. `others` is what steps of other clients take, `mine` what ours do, by
    their keys in dask; `holds` are artifacts that lie there, and their bytes.
    """

    address: str
    abilities: Abilities
    others: dict[str, float] = field(default_factory=dict)
    mine: dict[str, dict[str, float]] = field(default_factory=dict)
    holds: dict[Pair, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.abilities.name

    def free(self, amount: str) -> float:
        """Return how much of a resource nobody uses now."""
        used = self.others.get(amount, 0.0) + sum(each.get(amount, 0.0) for each in self.mine.values())
        return totals(self.abilities)[amount] - used


def totals(abilities: Abilities) -> dict[str, float]:
    """Return the resources of a worker as dask counts them: background steps have as much of their own."""
    own = {CORES: float(abilities.cores), MEMORY: float(abilities.memory)}
    return own | {BACKGROUND + name: amount for name, amount in own.items()}


def amounts(cost: Cost, abilities: Abilities) -> dict[str, float]:
    """Return what a step takes of a worker. One that asks for more than the whole worker gets all of it, and
    so runs alone.
    """
    prefix = BACKGROUND if cost.background else ""
    return {
        prefix + CORES: float(min(cost.cores, abilities.cores)),
        prefix + MEMORY: float(min(-(-cost.memory // MIB), abilities.memory)),
    }


def has_room(worker: Worker, cost: Cost) -> bool:
    """Whether a step fits beside what runs on a worker now."""
    return all(worker.free(name) >= amount for name, amount in amounts(cost, worker.abilities).items())


def stranger(abilities: Abilities, shares: str) -> str | None:
    """Return why a worker is of no use at all to a build here, whose store is shared at `shares`; None when
    it is.
    """
    source, version = source_of_imagebuild(), own_version()
    if abilities.source != source:
        return (
            f"it runs imagebuild {abilities.version} ({abilities.source}),"
            f" and this is imagebuild {version} ({source})"
        )
    if abilities.python != python_version():
        return f"it runs Python {abilities.python}, and this is Python {python_version()}"
    if abilities.shares != shares:
        return f"its store is {abilities.shares}, and that of this build {shares}"
    return None


def why_not(abilities: Abilities, one: Step[Any]) -> str | None:
    """Return why a worker cannot take a step, however idle it is; None when it can."""
    missing = [need for need in one.cost.needs if need not in abilities.can]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    for name, wanted in one.tools.items():
        found = abilities.keys.get(name)
        if found is None and name.startswith(OF_THE_ORDER):
            continue
        if found is None or wanted not in found:
            there = " or ".join(found or ()) or "not known there"
            return f"{name} is {there}, and {wanted} is asked for"
    return None


def why_none(workers: Iterable[Worker], one: Step[Any]) -> str | None:
    """Return why no worker can take a step, naming what is missing; None when one can."""
    reasons: dict[str, list[str]] = {}
    everyone = list(workers)
    for worker in everyone:
        reason = why_not(worker.abilities, one)
        if reason is None:
            return None
        reasons.setdefault(reason, []).append(worker.name)
    for need in one.cost.needs:
        if not any(need in worker.abilities.can for worker in everyone):
            return f"no worker has {need}"
    said = [f"{', '.join(names[:SHOWN])}: {reason}" for reason, names in reasons.items()]
    return "; ".join(said[:SHOWN]) or "there are no workers"


def choose(
    workers: Iterable[Worker], one: Step[Any], reads: Sequence[Pair] = (), avoid: Iterable[str] = ()
) -> Worker | None:
    """Return the worker that takes a step now, or None when it must wait. `reads` are its inputs, `avoid` the
    addresses of workers that were lost with it, or could not keep it.
    """
    able = [worker for worker in workers if why_not(worker.abilities, one) is None]
    # to wait for another one is better than to lose it again
    able = [worker for worker in able if worker.address not in set(avoid)] or able
    able = [worker for worker in able if has_room(worker, one.cost)]
    return max(able, key=lambda worker: _merit(worker, one.cost, reads), default=None)


def _merit(worker: Worker, cost: Cost, reads: Sequence[Pair]) -> tuple[float, ...]:
    """Return how good a choice is: bytes of inputs there, then few abilities (others may need them), then
    room left.
    """
    prefix = BACKGROUND if cost.background else ""
    there = sum(worker.holds.get(pair, 0) for pair in reads)
    return there, -len(worker.abilities.can), worker.free(prefix + CORES)


def joined(processing: Mapping[str, Mapping[str, float]], mine: Collection[str]) -> dict[str, float]:
    """Return the sums of what other clients' steps take, of all that a worker has been given."""
    sums = dict[str, float]()
    for key, taken in processing.items():
        if key not in mine:
            for name, amount in taken.items():
                sums[name] = sums.get(name, 0.0) + amount
    return sums
