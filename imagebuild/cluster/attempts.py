"""A step on its way through the workers of a cluster: where it runs, where it ran before, and what became of
it.
"""

import tarfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imagebuild.cluster.choice import Worker
from imagebuild.cluster.connection import HEAD_SECONDS, Connection
from imagebuild.cluster.evidence import unpack
from imagebuild.cluster.remote_step import Failed, Made, Unable
from imagebuild.engine.dispatch import Task
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

Pair = tuple[str, str]
# so often a step is lost with its worker before it is the step that fails
TRIES = 3
ASK_SECONDS = 0.25
# after that the head has heard that a step was cancelled
CANCEL_SECONDS = 2.0


@dataclass(kw_only=True, eq=False)
class Trip:
    """A step that a dispatcher was given: `number` counts how often it was sent, `lost` names the workers
    that it was lost with, `avoid` their addresses. `sent` is dask's future of the last time.
    """

    task: Task
    step: Step[Any]
    log: Path
    over: "Future[StoredArtifact]" = field(default_factory=Future)
    number: int = 0
    worker: Worker | None = None
    sent: Any = None
    lost: list[str] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)
    read: int = 0

    @property
    def key(self) -> str:
        """What dask calls it: KIND-KEY-NUMBER."""
        return f"{self.task.kind}-{self.task.key}-{self.number}"

    @property
    def pair(self) -> Pair:
        """Its artifact's kind and key."""
        return self.task.kind, self.task.key

    @property
    def reads(self) -> list[Pair]:
        """Kinds and keys of its inputs."""
        return [(reference.kind, reference.key) for reference in self.task.references]

    def lose(self, why: str, kept_log: "Callable[[Trip], Path]") -> bool:
        """Write down that its worker is lost to it; return whether it may be tried on another one. When it
        may not, it has failed; `kept_log` keeps its log, and returns where.
        """
        assert self.worker is not None
        self.lost.append(f"{self.worker.name} ({self.worker.address}): {why}")
        self.avoid.add(self.worker.address)
        if len(self.lost) < TRIES:
            return True
        self.fail(
            BuildError(
                f"{self.step.name} was started on {len(self.lost)} workers and none could finish it:"
                f" {'; '.join(self.lost)}",
                hint="look at the system log of those machines: short of memory or disk?",
                log=kept_log(self),
            )
        )
        return False

    def fail(self, error: BuildError) -> None:
        """Let the step have failed, unless it is over."""
        if not self.over.done():
            self.over.set_exception(error)

    def made(self, record: StoredArtifact, store: Store) -> None:
        """Let the step have made its artifact, as a worker says: `need` brings it to this machine's store."""
        # that store may not have heard of it yet: it asks its remote now and then
        there = store.root / "artifacts" / self.task.kind / self.task.key
        if not self.over.done():
            self.over.set_result(store.find(*self.pair) or replace(record, directory=there))

    def failed(self, answer: Failed, store: Store) -> None:
        """Let the step have failed, with what it left on this machine as if it had failed here."""
        error, place = answer.error, store.root / "failed" / f"{self.task.kind}-{self.task.key}"
        if answer.left and answer.place != place:
            try:
                unpack(answer.left, place)
            except (OSError, tarfile.TarError) as problem:
                error.hint = f"{error.hint}; what it left could not be unpacked: {problem}".lstrip("; ")
        for name in ("log", "evidence"):
            there = getattr(error, name, None)
            if isinstance(there, Path) and there.is_relative_to(answer.place):
                setattr(error, name, place / there.relative_to(answer.place))
        self.fail(error)


def answer_of(sent: Any) -> Made | Failed | Unable | BuildError:
    """Return what a worker has answered, or what became of it."""
    from distributed.scheduler import KilledWorker, NoValidWorkerError

    try:
        answer: Made | Failed | Unable = sent.result(timeout=HEAD_SECONDS)
    except (KilledWorker, NoValidWorkerError):
        return Unable(why="it died")
    except CancelledError:
        # the connection was lost, or somebody has cancelled it
        return Unable(why="the connection to it was lost", ended=True)
    except TimeoutError:
        return Unable(why="it died with the answer")
    except Exception as error:
        return BuildError(
            f"a worker answered what cannot be read: {error!r}",
            hint="this is a bug of imagebuild: report it with the worker's log",
        )
    return answer


def wait_for_end(
    connection: Connection,
    keys: set[str],
    names: Mapping[str, str],
    say: Callable[[str], None],
    patience: float,
) -> None:
    """Wait until none of these steps runs on a worker any more (`names` by their addresses), at most so many
    seconds, and say what is waited for. What another client wants, too, goes on.
    """
    begun, told = time.monotonic(), ""
    while (passed := time.monotonic() - begun) < patience:
        if passed > CANCEL_SECONDS:
            keys = keys - {key for seen in connection.state().workers.values() for key in seen.processing}
        waited = {
            names[address]: [name for key in keys & set(steps) for name in steps[key][0]]
            for address, steps in connection.running(list(names)).items()
            if keys & set(steps)
        }
        if not waited:
            return
        line = "; ".join(f"{name}: {', '.join(what) or 'its step'}" for name, what in waited.items())
        if line != told:
            say(f"waiting for {line}")
        told = line
        time.sleep(ASK_SECONDS)
