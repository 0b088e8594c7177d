"""The steps of a build run on workers: imagebuild chooses the worker, sends a step only where there is room
now, and sends it anew when its worker is lost. dask carries.

Two threads: the one that builds calls `check`, `fits`, `submit`; a second one looks at the head each second:
who has joined or gone, what other clients do, what the logs say. dask's own tells what has ended.
"""

import contextlib
import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imagebuild.cluster.abilities import place_of
from imagebuild.cluster.attempts import Trip, answer_of, wait_for_end
from imagebuild.cluster.choice import CORE_AMOUNTS, Worker, amounts, choose, why_none
from imagebuild.cluster.connection import HEAD_SECONDS, Connection, Note
from imagebuild.cluster.remote_step import Answer, Failed, Made, Order, Unable, run_order
from imagebuild.cluster.roll import Roll
from imagebuild.engine.dispatch import ORIGIN, Dispatcher, Task
from imagebuild.engine.steps import Step, inputs, key_of, kind_of
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

LOOK_SECONDS = 1.0
# a step that nobody can take waits so long for a worker before anything runs, and while others run
JOIN_SECONDS, REJOIN_SECONDS = 15.0, 120.0
SHOWN = 5
ANSWERS = 16


class ClusterDispatcher:
    """Runs steps on the workers of a cluster, and on this machine those that need the origin of commits."""

    def __init__(
        self,
        connection: Connection,
        store: Store,
        here: Dispatcher,
        *,
        logs: Path,
        say: Callable[[str], None],
    ) -> None:
        self._connection, self._store, self._here, self._logs, self._say = connection, store, here, logs, say
        self._guard = threading.RLock()
        self._roll = Roll(connection, place_of(store), say)
        self._trips: dict[str, Trip] = {}
        self._homeless: list[Trip] = []
        # keys of all that this client ever sent: what the head tells of them may be of a moment ago
        self._sent: set[str] = set()
        self._where: dict[Step[Any], str] = {}
        # what steps need that no worker has -> since when
        self._missed: dict[object, float] = {}
        # names of steps that were not started yet
        self._waiting: dict[str, None] = {}
        self._gone: str | None = None
        self._over = threading.Event()
        self._answers = ThreadPoolExecutor(ANSWERS, thread_name_prefix="answers")
        self._look()
        self._watching = threading.Thread(target=self._watch, name="watch the cluster", daemon=True)
        self._watching.start()

    # --- what a build asks ---------------------------------------------------------------------------------

    def check(self, waiting: Sequence[Step[Any]]) -> None:
        """Raise BuildError when no worker can ever take one of these steps; those to come have a little
        time.
        """
        pairs = {(kind_of(each), key_of(each)) for one in waiting for each in (one, *inputs(one))}
        self._roll.ask_for(pairs)
        self._waiting = dict.fromkeys(one.name for one in waiting)
        remote = [one for one in waiting if ORIGIN not in one.cost.needs]
        until = time.monotonic() + JOIN_SECONDS
        while hopeless := self._hopeless(remote):
            if time.monotonic() > until or self._gone:
                raise self._nobody(hopeless)
            time.sleep(LOOK_SECONDS / 4)

    def _hopeless(self, steps: Sequence[Step[Any]]) -> dict[str, list[str]]:
        """Return why no worker can take steps -> their names."""
        found: dict[str, list[str]] = {}
        seen: dict[object, str | None] = {}
        for one in steps:
            wanted = _wanted(one)
            if wanted not in seen:
                seen[wanted] = why_none(self._roll.workers(), one)
            reason = seen[wanted]
            if reason is not None:
                found.setdefault(reason, []).append(one.name)
        return found

    def _nobody(self, hopeless: dict[str, list[str]]) -> BuildError:
        lines = [
            f"{', '.join(names[:SHOWN])}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}:"
            f" {reason}"
            for reason, names in list(hopeless.items())[:SHOWN]
        ]
        if len(hopeless) > SHOWN:
            lines.append(f"and {len(hopeless) - SHOWN} more reasons")
        refused = [f"{name} is not used: {why}" for name, why in self._roll.strangers().items()]
        return BuildError(
            f"no worker at {self._connection.address} can ever take these steps:"
            f" {'; '.join(lines + refused)}",
            hint="start such a worker (imagebuild worker), or leave that part out (--only)",
        )

    def fits(self, one: Step[Any]) -> bool:
        """Whether a worker that can take the step has room for it now. Raises BuildError when the head is
        gone.
        """
        if ORIGIN in one.cost.needs:
            return self._here.fits(one)
        with self._guard:
            if self._gone is not None:
                raise BuildError(self._gone, hint="what was finished is kept: run the same command again")
            return choose(self._roll.workers(), one) is not None

    def why_never(self, one: Step[Any]) -> str | None:
        """Return why no worker can take a step, when there has been none for long."""
        if ORIGIN in one.cost.needs:
            return self._here.why_never(one)
        with self._guard:
            return self._why_never(one)

    def _why_never(self, one: Step[Any]) -> str | None:
        reason = why_none(self._roll.workers(), one)
        if reason is None:
            self._missed.pop(_wanted(one), None)
            return None
        since = self._missed.setdefault(_wanted(one), time.monotonic())
        waited = time.monotonic() - since
        return f"{reason}, for {waited:.0f} s now" if waited > REJOIN_SECONDS else None

    def submit(self, task: Task, one: Step[Any]) -> "Future[StoredArtifact]":
        """Send a step to the best worker that has room."""
        self._waiting.pop(one.name, None)
        if ORIGIN in one.cost.needs:
            return self._here.submit(task, one)
        trip = Trip(task=task, step=one, log=self.log_of(task, one))
        with self._guard:
            self._homeless.append(trip)
            self._place()
        return trip.over

    def log_of(self, task: Task, one: Step[Any]) -> Path:
        """Return where the log that comes from the worker is written."""
        if ORIGIN in one.cost.needs:
            return self._here.log_of(task, one)
        log = self._logs / f"{task.kind}-{task.key}.log"
        log.touch()
        return log

    def where(self, one: Step[Any]) -> str | None:
        """Return the name of the worker that has the step, or had it last."""
        return self._where.get(one)

    # --- sending -------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Send the steps that have no worker now to one with room. Hold the guard."""
        for trip in list(self._homeless):
            worker = choose(self._roll.workers(), trip.step, trip.reads, trip.avoid)
            if worker is None or trip.over.done() or self._over.is_set():
                continue
            try:
                self._send(trip, worker)
            except Exception as error:
                # dask has many ways to say that there is no connection any more
                self._give_up(f"the head at {self._connection.address} is gone ({error or type(error)})")
                return
            self._homeless.remove(trip)

    def _send(self, trip: Trip, worker: Worker) -> None:
        trip.number += 1
        trip.worker, trip.read = worker, 0
        self._where[trip.step] = worker.name
        taken = amounts(trip.step.cost, worker.abilities)
        worker.mine[trip.key] = taken
        self._trips[trip.key] = trip
        self._sent.add(trip.key)
        trip.sent = self._connection.client.submit(
            run_order,
            trip.key,
            Order(
                task=trip.task,
                cores=sum(taken[name] for name in CORE_AMOUNTS if name in taken),
            ),
            key=trip.key,
            pure=False,
            retries=0,
            workers=[worker.address],
            allow_other_workers=False,
            resources=taken,
        )
        number = trip.number
        # dask has one thread for all of these, and an answer is fetched from the worker
        trip.sent.add_done_callback(lambda sent: self._answers.submit(self._ended, trip, number, sent))

    def _ended(self, trip: Trip, number: int, sent: Any) -> None:
        """Take what dask says of a step that it was given; whatever that is, the step does not hang."""
        try:
            self._take(trip, number, answer_of(sent))
        except Exception as error:
            trip.fail(
                error
                if isinstance(error, BuildError)
                else BuildError(
                    f"{trip.step.name}: what its worker has answered cannot be used: {error!r}",
                    hint="this is a bug of imagebuild: report it with the worker's log",
                )
            )

    def _take(self, trip: Trip, number: int, answer: Answer | BuildError) -> None:
        with self._guard:
            if trip.number != number or trip.over.done() or self._trips.pop(trip.key, None) is None:
                return
            assert trip.worker is not None
            trip.worker.mine.pop(trip.key, None)
            if isinstance(answer, Made):
                self._roll.note(trip.worker, trip.pair, answer.bytes, trip.reads)
            elif isinstance(answer, Unable) and not self._over.is_set():
                # one that was told to end by somebody before us did not lose its worker, which may be leaving
                trip.avoid.add(trip.worker.address)
                if answer.ended or trip.lose(answer.why, self._kept_log):
                    self._homeless.append(trip)
            elif isinstance(answer, Unable):
                trip.fail(BuildError("interrupted"))
            self._place()
        # what travels and is written needs no guard
        if isinstance(answer, Made):
            trip.made(answer.record, self._store)
        elif isinstance(answer, Failed):
            trip.failed(answer, self._store)
        elif isinstance(answer, BuildError):
            trip.fail(answer)
        elif not isinstance(answer, Unable):
            raise TypeError(f"a worker does not answer {type(answer)}")

    def _kept_log(self, trip: Trip) -> Path:
        """Return the log of a step that has failed, where it is kept: what is fetched goes with the build."""
        place = self._store.root / "failed" / f"{trip.task.kind}-{trip.task.key}"
        # a disk without room for it is not why the step has failed
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(trip.log, place / "log")
            return place / "log"
        return trip.log

    # --- watching ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        heard = time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            try:
                self._look()
                self._fetch_logs()
                heard = time.monotonic()
            except BuildError as error:
                self._give_up(error.message)
            except Exception as error:
                # dask has many ways to say that there is no connection now
                if time.monotonic() - heard > HEAD_SECONDS or not self._connection.alive:
                    self._give_up(f"the head at {self._connection.address} is gone ({error or type(error)})")

    def _look(self) -> None:
        state = self._connection.state(self._note())
        with self._guard:
            for address in self._roll.take(state.workers, self._sent):
                for trip in [each for each in self._trips.values() if _is_at(each, address)]:
                    self._left(trip)
            for trip in list(self._homeless):
                # it waits for no others: the build is over when it is
                if (why := self._why_never(trip.step)) is not None:
                    self._homeless.remove(trip)
                    error = BuildError(f"{trip.step.name} cannot go on: {why}", log=self._kept_log(trip))
                    trip.fail(error)
            self._place()

    def _note(self) -> Note:
        with self._guard:
            running = tuple(trip.step.name for trip in self._trips.values())
            waiting = (*(trip.step.name for trip in self._homeless), *self._waiting)
        return Note(machine=platform.node(), pid=os.getpid(), running=running, waiting=waiting)

    def _left(self, trip: Trip) -> None:
        """A worker with a step of ours is gone; dask would wait for it."""
        del self._trips[trip.key]
        self._connection.client.cancel([trip.sent], force=True)
        if trip.lose("it is gone", self._kept_log):
            self._homeless.append(trip)

    def _give_up(self, why: str) -> None:
        with self._guard:
            self._gone = self._gone or why
            trips = [*self._trips.values(), *self._homeless]
            self._trips.clear()
            self._homeless.clear()
        for trip in trips:
            trip.fail(BuildError(why, hint="what was finished is kept: run the same command again"))

    def _fetch_logs(self) -> None:
        with self._guard:
            trips = list(self._trips.values())
        addresses = {trip.worker.address for trip in trips if trip.worker is not None}
        read = self._connection.logs(sorted(addresses), {trip.key: trip.read for trip in trips})
        for trip in trips:
            data = read.get(trip.key)
            if data:
                with trip.log.open("ab") as log:
                    log.write(data)
                trip.read += len(data)

    # --- the end -------------------------------------------------------------------------------------------

    def interrupt(self, patience: float = 40.0) -> None:
        """End what runs on workers for this build, say what is waited for, and wait until it has ended."""
        self._over.set()
        with self._guard:
            trips = list(self._trips.values())
            self._homeless.clear()
        if not trips:
            return
        ending = ", ".join(f"{trip.step.name} on {trip.worker.name}" for trip in trips if trip.worker)
        self._say(f"ending {ending}")
        with contextlib.suppress(Exception):
            self._connection.client.cancel([trip.sent for trip in trips])
            names = {worker.address: worker.name for worker in self._roll.workers()}
            wait_for_end(self._connection, {trip.key for trip in trips}, names, self._say, patience)
        for trip in trips:
            trip.fail(BuildError("interrupted"))

    def close(self) -> None:
        """Watch no more. The connection stays open."""
        self._over.set()
        self._watching.join(5)
        self._answers.shutdown(wait=False, cancel_futures=True)


def _wanted(one: Step[Any]) -> object:
    """Return what decides which workers can take a step."""
    return one.cost.needs, frozenset(one.tools.items())


def _is_at(trip: Trip, address: str) -> bool:
    return trip.worker is not None and trip.worker.address == address
