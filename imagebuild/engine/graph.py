"""A graph of steps is built: each step once, in parallel, resumable. Knows no images.

A key with a finished artifact is never built again; what fails does not stop what does not need it.
"""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from imagebuild.engine.builds import INTERRUPTED, OVER
from imagebuild.engine.dispatch import Dispatcher, HereDispatcher, Reference, Task, artifact_of
from imagebuild.engine.planning import needed_steps, order
from imagebuild.engine.priorities import remaining_seconds, usual_seconds
from imagebuild.engine.readiness import WaitingSteps
from imagebuild.engine.steps import Cost, Gather, Step, components, digest_of, inputs, key_of, kind_of
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

T = TypeVar("T")
WAKE_SECONDS = 0.5


class Listener(Protocol):
    """Who wants to know how a build goes. Called from the thread that called `build`."""

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """Tell that a step runs now and where its log grows; `busy`: another imagebuild builds it, and this
        one waits.
        """

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """Tell that a step's artifact is there, built now or before."""

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """Tell that a step failed."""

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """Tell that a step cannot be built because `because` failed."""


@dataclass
class Outcome:
    """How a build ended: values of what is there, errors of what failed, and what was never started (and
    whose fault it is).
    """

    values: dict[Step[Any], Any] = field(default_factory=dict)
    failed: dict[Step[Any], BuildError] = field(default_factory=dict)
    not_started: dict[Step[Any], Step[Any]] = field(default_factory=dict)
    records: dict[Step[Any], StoredArtifact] = field(default_factory=dict)

    def value(self, one: Step[T]) -> T:
        """Return a step's artifact. Raises KeyError when it is not there."""
        found: T = self.values[one]
        return found


def build(
    goals: Sequence[Step[Any]],
    store: Store,
    runs_on: Dispatcher | Executor,
    *,
    listener: Listener,
    budget: Cost | None = None,
    one_at_a_time: bool = False,
) -> Outcome:
    """Build what is missing for the goals, in parallel as far as there is room, and go on past failures. Of
    what is ready, the step with the longest way to the end behind it goes first.

    `runs_on` is a dispatcher, or an executor of this machine, whose steps run within `budget`: one that asks
    for more than all of it runs alone; background steps have a budget of the same size of their own, unless
    `one_at_a_time` says that no two steps may run beside each other. Raises BuildError when a step can run
    nowhere. KeyboardInterrupt passes through: the caller ends programs.
    """
    if isinstance(runs_on, Executor):
        runs_on = HereDispatcher(store, runs_on, budget or Cost(), one_at_a_time=one_at_a_time)
    return _Build(goals, store, runs_on, listener).run()


def _by_urgency(waiting: Sequence[Step[Any]], store: Store) -> list[Step[Any]]:
    # inputs stay before what reads them: their way is never shorter, and the sort is stable
    remaining = remaining_seconds(waiting, usual_seconds(store))
    return sorted(waiting, key=lambda one: -remaining[one])


def _waiting_of(goals: Sequence[Step[Any]], every: Sequence[Step[Any]], store: Store) -> list[Step[Any]]:
    """Return the steps that have to be built, the most urgent first."""
    needed = needed_steps(goals, store)
    return _by_urgency([one for one in every if one in needed], store)


class _Build:
    def __init__(
        self, goals: Sequence[Step[Any]], store: Store, dispatcher: Dispatcher, listener: Listener
    ) -> None:
        self._store, self._dispatcher, self._listener = store, dispatcher, listener
        self._outcome = Outcome()
        every = order(goals)
        dispatcher.check(_waiting_of(goals, every, store))
        self._running: dict[Future[StoredArtifact], Step[Any]] = {}
        # of steps that had to do without an input, and of what is made of theirs
        self._keys: dict[Step[Any], str] = {}
        self._diary = store.remember({one.name: (kind_of(one), key_of(one)) for one in every})
        # looked for once more: only what is found from now on is kept for this build
        self._waiting = WaitingSteps(_waiting_of(goals, every, store))
        found = {one: store.find(kind_of(one), key_of(one)) for one in every}
        there = {one: record for one, record in found.items() if record is not None}
        self._diary.has(*(one.name for one in there))
        for one, record in there.items():
            self._take(one, record, cached=True)

    def run(self) -> Outcome:
        how = INTERRUPTED
        try:
            while self._waiting or self._running:
                while self._start_ready():
                    pass
                done, _ = wait(self._running, timeout=WAKE_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self._end(future)
                self._diary.beat()
            how = OVER
        finally:
            self._diary.close(how)
        return self._outcome

    def _start_ready(self) -> bool:
        """Start what is ready and fits; return whether a step has ended meanwhile, so that more is ready."""
        ended, refused = False, set[object]()
        for one in self._waiting.ready():
            # of those that ask for the same, the first one that does not fit stands for all
            wanted = one.cost, frozenset(one.tools.items())
            if wanted in refused:
                continue
            if self._dispatcher.fits(one):
                self._waiting.take(one)
                ended |= not self._start(one)
            elif (why := self._dispatcher.why_never(one)) is not None:
                self._waiting.take(one)
                self._fail(one, BuildError(f"{one.name} cannot run: {why}"))
                ended = True
            else:
                refused.add(wanted)
        return ended

    def _tell_doomed(self) -> None:
        for one, guilty in self._waiting.doomed():
            root = self._outcome.not_started.get(guilty, guilty)
            self._outcome.not_started[one] = root
            self._listener.not_started(one, root)

    def _start(self, one: Step[Any]) -> bool:
        """Start a step; return whether it runs now: without an input, it may be there already."""
        missing = [each for each in inputs(one) if each not in self._outcome.values]
        parts = components(one, self._keys, missing)
        kind, key = kind_of(one), digest_of(parts)
        if key != key_of(one):
            self._keys[one] = key
            self._diary.uses(one.name, (kind, key))
            record = self._store.find(kind, key)
            if record is not None:
                self._diary.has(one.name)
                self._take(one, record, cached=True)
                self._waiting.end(one, well=True)
                return False
        task = Task(
            root=self._store.root,
            kind=kind,
            key=key,
            components=parts,
            function=one.function,
            arguments=[self._reference(argument) for argument in one.arguments],
            guests=one.cost.guests,
            without=tuple(each.name for each in missing),
        )
        self._listener.started(one, self._dispatcher.log_of(task, one), busy=self._store.busy(kind, key))
        self._diary.begins(one.name, (kind, key), background=one.cost.background)
        self._running[self._dispatcher.submit(task, one)] = one
        return True

    def _reference(self, argument: object) -> object:
        if isinstance(argument, Gather):
            # all are there, but of those that a step can do without
            return tuple(self._reference(each) for each in inputs(argument) if each in self._outcome.values)
        if isinstance(argument, Step):
            return Reference(
                kind_of(argument), self._keys.get(argument) or key_of(argument), argument.function
            )
        return argument

    def _end(self, future: "Future[StoredArtifact]") -> None:
        one = self._running.pop(future)
        try:
            self._take(one, future.result(), cached=False)
            self._waiting.end(one, well=True)
        except BuildError as error:
            self._fail(one, error)
        how = "failed" if one in self._outcome.failed else "done"
        self._diary.ends(one.name, how, worker=self._dispatcher.where(one))

    def _fail(self, one: Step[Any], error: BuildError) -> None:
        self._outcome.failed[one] = error
        self._listener.failed(one, error)
        self._waiting.end(one, well=False)
        self._tell_doomed()

    def _take(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        self._outcome.values[one] = artifact_of(one.function, record, step=one.name)
        self._outcome.records[one] = record
        self._listener.finished(one, record, cached=cached)
