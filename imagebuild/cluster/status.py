"""What a cluster does now: its workers, what runs on them, what waits for them; and who could take a step."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imagebuild.cluster.abilities import place_of, read_abilities
from imagebuild.cluster.choice import CORES, MEMORY, Worker, joined, stranger, why_none, why_not
from imagebuild.cluster.connection import Connection, Note, Seen
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store

HERE = "this machine"


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A worker: `used` of its `cores` and `used_memory` of its `memory` (MiB) are taken by steps now, and in
    the mean since it began steps had the share `load` of its cores. `steps` are what it was given, with the
    seconds that each runs.
    """

    name: str
    address: str
    version: str
    fingerprint: str
    can: tuple[str, ...]
    cores: int
    used: float
    memory: int
    used_memory: float
    load: float
    steps: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class ClusterStatus:
    """A cluster: its workers, its clients, and the port of dask's dashboard on the head's loopback."""

    head: str
    workers: tuple[WorkerStatus, ...]
    clients: tuple[Note, ...]
    dashboard: int | None


def status_of(connection: Connection) -> ClusterStatus:
    """Return what a cluster does now. Raises BuildError."""
    state = connection.state()
    loads = connection.loads(list(state.workers))
    workers = [_worker(address, seen, loads.get(address, 0.0)) for address, seen in state.workers.items()]
    return ClusterStatus(
        head=str(connection.address),
        workers=tuple(sorted(workers, key=lambda worker: worker.name)),
        clients=tuple(state.clients),
        dashboard=state.dashboard,
    )


def _worker(address: str, seen: Seen, load: float) -> WorkerStatus:
    told = read_abilities(seen.told)
    taken = joined(seen.processing, ())
    return WorkerStatus(
        name=told.name if told is not None else "no worker of imagebuild",
        address=address,
        version=told.version if told is not None else "",
        fingerprint=told.fingerprint if told is not None else "",
        can=told.can if told is not None else (),
        cores=told.cores if told is not None else 0,
        used=taken.get(CORES, 0.0),
        memory=told.memory if told is not None else 0,
        used_memory=taken.get(MEMORY, 0.0),
        load=load / told.cores if told is not None else 0.0,
        steps=tuple((key, seen.executing.get(key, 0.0)) for key in seen.processing),
    )


def places_of(connection: Connection, steps: Iterable[Step[Any]], store: Store) -> dict[str, str]:
    """Return for each step by name the workers that could take it, or why none can."""
    told = {address: read_abilities(seen.told) for address, seen in connection.state().workers.items()}
    workers = [
        Worker(address=address, abilities=abilities)
        for address, abilities in told.items()
        if abilities is not None and stranger(abilities, place_of(store)) is None
    ]
    return {one.name: _place(one, workers) for one in steps}


def _place(one: Step[Any], workers: list[Worker]) -> str:
    if ORIGIN in one.cost.needs:
        return HERE
    able = [worker.name for worker in workers if why_not(worker.abilities, one) is None]
    return ", ".join(sorted(able)) or f"nowhere: {why_none(workers, one)}"
