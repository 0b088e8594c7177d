"""What a worker does with a step, and what it sends back. Everything here can be pickled: a client hands it
to dask, and gets it back from it.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagebuild.cluster.evidence import pack
from imagebuild.engine.dispatch import Task, run_step
from imagebuild.engine.relocation import replaced
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.process import Group, ended_all

# with less than that left, a step that failed is tried on another worker
FULL = 64 * 1024 * 1024
LOG_BYTES = 256 * 1024
PLUGIN = "imagebuild"


@dataclass(frozen=True, kw_only=True)
class Order:
    """A step as it is sent to a worker; `cores` is what it takes of it."""

    task: Task
    cores: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Made:
    """The step's artifact is finished; `bytes` is its size."""

    record: StoredArtifact
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The step failed. `left` is what it left (`evidence.pack`), `place` where that lies on the worker."""

    error: BuildError
    left: bytes
    place: Path


@dataclass(frozen=True, kw_only=True)
class Unable:
    """The worker could not do it, whoever asked: its disk is full, or it was told to end what runs. The step
    may run elsewhere.
    """

    why: str
    ended: bool = False


Answer = Made | Failed | Unable


class Bench:
    """The steps that run in a worker's process now, each with its programs and its log."""

    def __init__(self, store: Store, guests: Accelerator | None) -> None:
        self.store, self._guests = store, guests
        self._groups: dict[str, tuple[Group, Path]] = {}
        self._guard = threading.Lock()
        self._begun, self._spent = time.monotonic(), 0.0
        # key -> when it began, and its cores
        self._busy: dict[str, tuple[float, float]] = {}

    def load(self) -> float:
        """Return the core seconds that steps had since this began, for each second."""
        now = time.monotonic()
        running = sum((now - begun) * cores for begun, cores in list(self._busy.values()))
        return (self._spent + running) / max(now - self._begun, 1e-3)

    def run(self, key: str, order: Order) -> Answer:
        """Run a step to its end, in the thread that calls this."""
        group, task = Group(), order.task
        begun = time.monotonic()
        with self._guard:
            self._groups[key] = (group, self.store.root / "scratch" / f"{task.kind}-{task.key}" / "log")
            self._busy[key] = (begun, order.cores)
        try:
            with group.entered():
                record = run_step(self.store, task, self._localise)
            return Made(record=record, bytes=_size(record))
        except BuildError as error:
            return self._failed(error, group)
        finally:
            with self._guard:
                del self._groups[key], self._busy[key]
                self._spent += (time.monotonic() - begun) * order.cores

    def _failed(self, error: BuildError, group: Group) -> Answer:
        if group.ended.is_set() or ended_all():
            return Unable(why="it was told to end", ended=True)
        free = shutil.disk_usage(self.store.root).free
        # what a step that failed has written is gone by now
        if free < FULL or no_space(error):
            return Unable(
                why=f"its disk is full ({free // 1024} KiB free in {self.store.root}): {error.message}"
            )
        place = error.log.parent if error.log is not None else self.store.root
        left = pack(place) if error.log is not None else b""
        # what caused it may be of a kind that cannot travel
        error.__cause__ = error.__context__ = None
        return Failed(error=error, left=left, place=place)

    def _localise(self, value: object) -> object:
        return replaced(value, self._mine)

    def _mine(self, part: object) -> object:
        if isinstance(part, Accelerator) and self._guests is not None:
            mine = self._guests.of(part.arch)
            return replace(mine, cpu=part.cpu) if mine.name == part.name else part
        return part

    def end(self, key: str) -> None:
        """End the programs of a step that runs, beside whoever calls this; it then fails."""
        with self._guard:
            group, _ = self._groups.get(key, (None, None))
        if group is not None:
            threading.Thread(target=group.end, name=f"end {key}", daemon=True).start()

    def end_all(self) -> None:
        """End the programs of all steps."""
        for key in list(self._groups):
            self.end(key)

    def running(self) -> dict[str, tuple[list[str], float]]:
        """Return key -> names of the programs that run for a step, and the seconds that they have to end."""
        with self._guard:
            groups = {key: group for key, (group, _) in self._groups.items()}
        return {
            key: (
                [process.name for process in group.programs()],
                max([process.patience for process in group.programs()], default=0.0),
            )
            for key, group in groups.items()
        }

    def read_logs(self, offsets: Mapping[str, int]) -> dict[str, bytes]:
        """Return what the logs of steps have got since those offsets."""
        with self._guard:
            logs = {key: self._groups[key][1] for key in offsets if key in self._groups}
        read = {}
        for key, log in logs.items():
            try:
                with log.open("rb") as stream:
                    stream.seek(offsets[key])
                    read[key] = stream.read(LOG_BYTES)
            except OSError:
                continue
        return read


def no_space(error: BaseException) -> bool:
    """Whether an error, or what caused it, is that there was no space left (errno(3): ENOSPC, EDQUOT), in a
    program's words or in Python's.
    """
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and cause not in causes:
        causes.append(cause)
    words = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
    return any(
        getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or any(word in str(each) for word in words)
        for each in causes
    )


def _size(record: StoredArtifact) -> int:
    return sum(file.stat().st_size for file in record.directory.rglob("*") if file.is_file())


# --- what a client asks of a worker's process; dask hands `dask_worker` in --------------------------------


def run_order(key: str, order: Order) -> Answer:
    """Run a step in the worker's process that this is called in."""
    from distributed import get_worker

    return bench_of(get_worker()).run(key, order)


def bench_of(dask_worker: Any) -> Bench:
    """Return the bench of a worker."""
    found: Bench = dask_worker.plugins[PLUGIN].bench
    return found


def tell_running(dask_worker: Any = None) -> dict[str, tuple[list[str], float]]:
    """Tell what runs on a worker."""
    return bench_of(dask_worker).running()


def tell_load(dask_worker: Any = None) -> float:
    """Tell how many cores steps had in the mean since a worker began."""
    return bench_of(dask_worker).load()


def tell_logs(offsets: Mapping[str, int], dask_worker: Any = None) -> dict[str, bytes]:
    """Tell what logs say."""
    return bench_of(dask_worker).read_logs(offsets)


def tell_held(pairs: list[tuple[str, str]], dask_worker: Any = None) -> dict[tuple[str, str], int]:
    """Tell which artifacts lie on a worker, and their bytes."""
    root, held = bench_of(dask_worker).store.root / "artifacts", {}
    for kind, key in pairs:
        # what lies here only: a remote is as near to all workers
        if (root / kind / key / "artifact.json").exists():
            held[kind, key] = _size(StoredArtifact(root / kind / key, None, {}, 0.0))
    return held
