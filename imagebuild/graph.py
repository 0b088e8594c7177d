"""A graph of steps is built: each step once, in parallel, resumable. Knows no images.

A key with a finished artifact is never built again; what fails does not stop what does not need it.
"""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import TypeAdapter

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.steps import Cost, Gather, Step, Unkeyed, components, inputs, key_of, kind_of
from imagebuild.store import Record, Store

T = TypeVar("T")
WAKE_SECONDS = 0.5


# --- plan -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planned:
    """One step of a plan: whether its artifact is there, is to be built, or is not needed; and why."""

    step: Step[Any]
    todo: bool
    reason: str


def order(goals: Sequence[Step[Any]]) -> list[Step[Any]]:
    """Return every step that the goals need, inputs first."""
    sorter: TopologicalSorter[Step[Any]] = TopologicalSorter()
    todo, seen = list(goals), set[Step[Any]]()
    while todo:
        one = todo.pop()
        if one not in seen:
            seen.add(one)
            sorter.add(one, *inputs(one))
            todo += inputs(one)
    return list(sorter.static_order())


def plan(goals: Sequence[Step[Any]], store: Store) -> list[Planned]:
    """Say what `build` would do, and why, without doing it."""
    needed = _needed(goals, store)
    last = store.last_build()
    return [Planned(one, one in needed, _why(one, store, last, one in needed)) for one in order(goals)]


def _needed(goals: Sequence[Step[Any]], store: Store) -> set[Step[Any]]:
    """Return the steps that must be built: a goal, or the input of such a step, without a finished artifact."""
    todo, missing, seen = list(goals), set[Step[Any]](), set[Step[Any]]()
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        if store.find(kind_of(one), key_of(one)) is None:
            missing.add(one)
            todo += inputs(one)
    return missing


def _why(one: Step[Any], store: Store, last: Mapping[str, tuple[str, str]], needed: bool) -> str:
    if not needed:
        return "finished" if store.find(kind_of(one), key_of(one)) else "not needed: what reads it is finished"
    if one.name not in last:
        return "never built"
    before = store.find(*last[one.name])
    if before is None or last[one.name] == (kind_of(one), key_of(one)):
        return "its artifact is gone"
    now = components(one)
    changed = sorted(name for name in {*now, *before.components} if now.get(name) != before.components.get(name))
    return "changed: " + ", ".join(changed)


# --- build ------------------------------------------------------------------------------------------------------------


class Listener(Protocol):
    """Who wants to know how a build goes. Called from the thread that called `build`."""

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """Tell that a step runs now and where its log grows; `busy`: another imagebuild builds it, and this one waits."""

    def finished(self, one: Step[Any], record: Record, *, cached: bool) -> None:
        """Tell that a step's artifact is there, built now or before."""

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """Tell that a step failed."""

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """Tell that a step cannot be built because `because` failed."""


@dataclass
class Outcome:
    """How a build ended: values of what is there, errors of what failed, and what was never started (and whose fault it is)."""

    values: dict[Step[Any], Any] = field(default_factory=dict)
    failed: dict[Step[Any], BuildError] = field(default_factory=dict)
    not_started: dict[Step[Any], Step[Any]] = field(default_factory=dict)
    records: dict[Step[Any], Record] = field(default_factory=dict)

    def value(self, one: Step[T]) -> T:
        """Return a step's artifact. Raises KeyError when it is not there."""
        found: T = self.values[one]
        return found


def build(
    goals: Sequence[Step[Any]], store: Store, executor: Executor, *, budget: Cost, listener: Listener, one_at_a_time: bool = False
) -> Outcome:
    """Build what is missing for the goals, in parallel as far as `budget` allows, and go on past failures.

    A step that asks for more than the whole budget runs alone; background steps have a budget of the same size of their own, unless
    `one_at_a_time` says that no two steps may run beside each other.
    KeyboardInterrupt passes through: the caller ends programs.
    """
    return _Build(goals, store, executor, budget, listener, one_at_a_time).run()


class _Build:
    def __init__(
        self, goals: Sequence[Step[Any]], store: Store, executor: Executor, budget: Cost, listener: Listener, one_at_a_time: bool
    ) -> None:
        self._store = store
        self._executor = executor
        self._budget = budget
        self._one_at_a_time = one_at_a_time
        self._listener = listener
        self._outcome = Outcome()
        self._needed = _needed(goals, store)
        self._waiting = [one for one in order(goals) if one in self._needed]
        self._running: dict[Future[Record], Step[Any]] = {}
        self._build = store.remember({one.name: (kind_of(one), key_of(one)) for one in order(goals)})
        self._begun: dict[Step[Any], float] = {}
        self._spans: list[dict[str, Any]] = []
        for one in order(goals):
            record = store.find(kind_of(one), key_of(one))
            if record is not None:
                self._take(one, record, cached=True)

    def run(self) -> Outcome:
        while self._waiting or self._running:
            self._start_ready()
            done, _ = wait(self._running, timeout=WAKE_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                self._end(future)
        return self._outcome

    def _start_ready(self) -> None:
        for one in list(self._waiting):
            guilty = next((each for each in inputs(one) if each in self._outcome.failed or each in self._outcome.not_started), None)
            if guilty is not None:
                self._waiting.remove(one)
                root = self._outcome.not_started.get(guilty, guilty)
                self._outcome.not_started[one] = root
                self._listener.not_started(one, root)
            elif all(each in self._outcome.values for each in inputs(one)) and self._fits(one.cost):
                self._waiting.remove(one)
                self._start(one)

    def _fits(self, cost: Cost) -> bool:
        if self._one_at_a_time:
            return not self._running
        used = [one.cost for one in self._running.values() if one.cost.background == cost.background]
        cores, memory = sum(each.cores for each in used), sum(each.memory for each in used)
        return not used or (cores + cost.cores <= self._budget.cores and memory + cost.memory <= self._budget.memory)

    def _start(self, one: Step[Any]) -> None:
        kind, key = kind_of(one), key_of(one)
        self._listener.started(one, self._store.root / "scratch" / f"{kind}-{key}" / "log", busy=self._store.busy(kind, key))
        arguments = [self._value(argument) for argument in one.arguments]
        future = self._executor.submit(_run_step, self._store, kind, key, components(one), one.function, arguments)
        self._running[future] = one
        self._begun[one] = time.time()

    def _value(self, argument: object) -> object:
        if isinstance(argument, Gather):
            return tuple(self._outcome.values[each] for each in inputs(argument))
        if isinstance(argument, Step):
            return self._outcome.values[argument]
        return argument.value if isinstance(argument, Unkeyed) else argument

    def _end(self, future: "Future[Record]") -> None:
        one = self._running.pop(future)
        try:
            self._take(one, future.result(), cached=False)
        except BuildError as error:
            self._outcome.failed[one] = error
            self._listener.failed(one, error)
        state = "failed" if one in self._outcome.failed else "done"
        self._spans.append(
            {"step": one.name, "begin": self._begun[one], "end": time.time(), "state": state, "background": one.cost.background}
        )
        self._store.write_timeline(self._build, self._spans)

    def _take(self, one: Step[Any], record: Record, *, cached: bool) -> None:
        kind = get_type_hints(one.function, include_extras=True)["return"]
        self._outcome.values[one] = TypeAdapter(kind).validate_python(record.value, context={"base": record.directory})
        self._outcome.records[one] = record
        self._listener.finished(one, record, cached=cached)


def _run_step(
    store: Store,
    kind: str,
    key: str,
    parts: Mapping[str, str],
    function: Callable[..., Any],
    arguments: Sequence[object],
) -> Record:
    """Build one step; everything handed over can be pickled, so this may run on another machine of a cluster."""
    with store.lock(kind, key):
        winner = store.find(kind, key)
        if winner is not None:
            return winner
        scratch = store.scratch(kind, key)
        begun = time.monotonic()
        try:
            with steplog.writing_to(scratch.log):
                artifact = _call(function, scratch.out, arguments)
            made = TypeAdapter(get_type_hints(function, include_extras=True)["return"])
            value = made.dump_python(artifact, mode="json", context={"base": scratch.directory})
            return store.finish(scratch, kind, key, value=value, components=parts, seconds=time.monotonic() - begun)
        except BuildError as error:
            evidence = getattr(error, "evidence", None)
            kept = store.fail(scratch, kind, key, keep_output=evidence is not None)
            error.log = kept / "log"
            if evidence is not None:
                error.evidence = kept / evidence.relative_to(scratch.directory)  # type: ignore[attr-defined]
            raise


def _call(function: Callable[..., Any], out: Path, arguments: Sequence[object]) -> Any:
    try:
        return function(out, *arguments)
    except BuildError as error:
        steplog.note(f"failed: {error.message}")
        raise
    except OSError as error:
        steplog.note(traceback.format_exc())
        raise BuildError(f"{function.__name__}: {error}", hint="see the log for where; free space and permissions come first") from error
    except Exception as error:
        steplog.note(traceback.format_exc())
        raise BuildError(f"{function.__name__} broke: {error!r}", hint="this is a bug of imagebuild: report it with the log") from error
