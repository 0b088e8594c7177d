"""A graph of steps is built: each step once, in parallel, resumable. Knows no images.

A key with a finished artifact is never built again; what fails does not stop what does not need it.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from imagebuild import steplog
from imagebuild.engine import guest_slots
from imagebuild.engine.builds import INTERRUPTED, OVER
from imagebuild.engine.planning import needed_steps, order
from imagebuild.engine.priorities import remaining_seconds, usual_seconds
from imagebuild.engine.relocation import relocated
from imagebuild.engine.steps import (
    Cost,
    Gather,
    Step,
    Unkeyed,
    components,
    digest_of,
    inputs,
    key_of,
    kind_of,
    soft_inputs,
)
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
    executor: Executor,
    *,
    budget: Cost,
    listener: Listener,
    one_at_a_time: bool = False,
) -> Outcome:
    """Build what is missing for the goals, in parallel as far as `budget` allows, and go on past failures. Of
    what is ready, the step with the longest way to the end behind it goes first.

    A step that asks for more than the whole budget runs alone; background steps have a budget of the same
    size of their own, unless `one_at_a_time` says that no two steps may run beside each other.
    KeyboardInterrupt passes through: the caller ends programs.
    """
    return _Build(goals, store, executor, budget, listener, one_at_a_time).run()


def _by_urgency(waiting: Sequence[Step[Any]], store: Store) -> list[Step[Any]]:
    # inputs stay before what reads them: their way is never shorter, and the sort is stable
    remaining = remaining_seconds(waiting, usual_seconds(store))
    return sorted(waiting, key=lambda one: -remaining[one])


class _Build:
    def __init__(
        self,
        goals: Sequence[Step[Any]],
        store: Store,
        executor: Executor,
        budget: Cost,
        listener: Listener,
        one_at_a_time: bool,
    ) -> None:
        self._store = store
        self._executor = executor
        self._budget = budget
        self._one_at_a_time = one_at_a_time
        self._listener = listener
        self._outcome = Outcome()
        self._needed = needed_steps(goals, store)
        self._waiting = _by_urgency([one for one in order(goals) if one in self._needed], store)
        self._running: dict[Future[StoredArtifact], Step[Any]] = {}
        # of steps that had to do without an input, and of what is made of theirs
        self._keys: dict[Step[Any], str] = {}
        self._diary = store.remember({one.name: (kind_of(one), key_of(one)) for one in order(goals)})
        for one in order(goals):
            record = store.find(kind_of(one), key_of(one))
            if record is not None:
                self._take(one, record, cached=True)

    def run(self) -> Outcome:
        how = INTERRUPTED
        try:
            while self._waiting or self._running:
                self._start_ready()
                done, _ = wait(self._running, timeout=WAKE_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self._end(future)
                self._diary.beat()
            how = OVER
        finally:
            self._diary.close(how)
        return self._outcome

    def _hopeless(self, one: Step[Any]) -> bool:
        return one in self._outcome.failed or one in self._outcome.not_started

    def _ready(self, one: Step[Any]) -> bool:
        soft = soft_inputs(one)
        return all(
            each in self._outcome.values or (each in soft and self._hopeless(each)) for each in inputs(one)
        )

    def _start_ready(self) -> None:
        for one in list(self._waiting):
            soft = soft_inputs(one)
            guilty = next((each for each in inputs(one) if each not in soft and self._hopeless(each)), None)
            if guilty is not None:
                self._waiting.remove(one)
                root = self._outcome.not_started.get(guilty, guilty)
                self._outcome.not_started[one] = root
                self._listener.not_started(one, root)
            elif self._ready(one) and self._fits(one.cost):
                self._waiting.remove(one)
                self._start(one)

    def _fits(self, cost: Cost) -> bool:
        if self._one_at_a_time:
            return not self._running
        used = [one.cost for one in self._running.values() if one.cost.background == cost.background]
        cores, memory = sum(each.cores for each in used), sum(each.memory for each in used)
        return not used or (
            cores + cost.cores <= self._budget.cores and memory + cost.memory <= self._budget.memory
        )

    def _start(self, one: Step[Any]) -> None:
        missing = [each for each in inputs(one) if each not in self._outcome.values]
        parts = components(one, self._keys, missing)
        kind, key = kind_of(one), digest_of(parts)
        if key != key_of(one):
            self._keys[one] = key
            self._diary.uses(one.name, (kind, key))
            record = self._store.find(kind, key)
            if record is not None:
                self._take(one, record, cached=True)
                return
        self._listener.started(
            one, self._store.root / "scratch" / f"{kind}-{key}" / "log", busy=self._store.busy(kind, key)
        )
        arguments = [self._value(argument) for argument in one.arguments]
        there = [each for each in inputs(one) if each in self._outcome.values]
        task = _Task(
            root=self._store.root,
            needs=tuple((kind_of(each), self._keys.get(each) or key_of(each)) for each in there),
            kind=kind,
            key=key,
            components=parts,
            function=one.function,
            arguments=arguments,
            guests=one.cost.guests,
            without=tuple(each.name for each in missing),
        )
        self._diary.begins(one.name, (kind, key), background=one.cost.background)
        self._running[self._executor.submit(_run_step, self._store, task)] = one

    def _value(self, argument: object) -> object:
        if isinstance(argument, Gather):
            # all are there, but of those that a step can do without
            return tuple(
                self._outcome.values[each] for each in inputs(argument) if each in self._outcome.values
            )
        if isinstance(argument, Step):
            return self._outcome.values[argument]
        return argument.value if isinstance(argument, Unkeyed) else argument

    def _end(self, future: "Future[StoredArtifact]") -> None:
        one = self._running.pop(future)
        try:
            self._take(one, future.result(), cached=False)
        except BuildError as error:
            self._outcome.failed[one] = error
            self._listener.failed(one, error)
        self._diary.ends(one.name, "failed" if one in self._outcome.failed else "done")

    def _take(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        self._outcome.values[one] = _value_of(one, record)
        self._outcome.records[one] = record
        if cached:
            self._diary.has(one.name)
        self._listener.finished(one, record, cached=cached)


def _value_of(one: Step[Any], record: StoredArtifact) -> Any:
    """Return a step's artifact. Raises BuildError for what a store says that is not one: it may come from
    another machine.
    """
    kind = get_type_hints(one.function, include_extras=True)["return"]
    try:
        return TypeAdapter(kind).validate_python(record.value, context={"base": record.directory})
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{record.directory.parent.name}-{record.directory.name}"
        raise BuildError(
            f"{one.name}: the artifact {name} is not one: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint="find out who wrote it; then remove it from the store, or from the remote one (results/)",
        ) from error


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What a step's builder is handed: `without` are the inputs that failed, `guests` the cores of its
    guests, `needs` the artifacts that it reads; `root` is where the store lies that its arguments are of
    (None: it is the builder's).
    """

    kind: str
    key: str
    components: Mapping[str, str]
    function: Callable[..., Any]
    arguments: Sequence[object]
    guests: int
    without: tuple[str, ...]
    root: Path | None = None
    needs: Sequence[tuple[str, str]] = ()


def _run_step(store: Store, task: _Task) -> StoredArtifact:
    """Build one step; everything handed over can be pickled, so this may run on another machine of a
    cluster.
    """
    kind, key, function = task.kind, task.key, task.function
    with store.lock(kind, key):
        winner = store.find(kind, key)
        if winner is not None:
            return winner
        scratch = store.scratch(kind, key)
        begun = time.monotonic()
        try:
            with steplog.writing_to(scratch.log):
                for pair in task.needs:
                    store.need(*pair)
                artifact = _call(task, scratch.out, store.root)
            made = TypeAdapter(get_type_hints(function, include_extras=True)["return"])
            value = made.dump_python(artifact, mode="json", context={"base": scratch.directory})
            return store.finish(
                scratch, kind, key, value=value, components=task.components, seconds=time.monotonic() - begun
            )
        except BuildError as error:
            evidence = getattr(error, "evidence", None)
            kept = store.fail(scratch, kind, key, keep_output=evidence is not None)
            error.log = kept / "log"
            if evidence is not None:
                error.evidence = kept / evidence.relative_to(scratch.directory)  # type: ignore[attr-defined]
            raise


def _call(task: _Task, out: Path, root: Path) -> Any:
    function = task.function
    arguments = relocated(list(task.arguments), task.root or root, root)
    if task.without:
        steplog.note(f"without what failed: {', '.join(task.without)}")
    try:
        with guest_slots.taken(task.guests, say=steplog.note):
            return function(out, *arguments)
    except BuildError as error:
        steplog.note(f"failed: {error.message}")
        raise
    except OSError as error:
        steplog.note(traceback.format_exc())
        raise BuildError(
            f"{function.__name__}: {error}",
            hint="see the log for where; free space and permissions come first",
        ) from error
    except Exception as error:
        steplog.note(traceback.format_exc())
        raise BuildError(
            f"{function.__name__} broke: {error!r}",
            hint="this is a bug of imagebuild: report it with the log",
        ) from error
