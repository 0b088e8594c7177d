"""A typed graph of steps: each built once, in parallel, resumable. Knows no images.

A step is a function `(empty directory, typed inputs) -> artifact`. Its key is the hash of everything that went in: the
function's source and that of every module of its package it imports, its parameters, the versions of the tools it runs,
and the keys of the steps it reads. A key with a finished artifact is never built again.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, Union, get_type_hints, overload

from pydantic import TypeAdapter

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.store import Record, Store

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
WAKE_SECONDS = 0.5


@dataclass(frozen=True)
class Cost:
    """What a step takes while it runs: cores, and bytes of memory reserved before it starts."""

    cores: int = 1
    memory: int = 0


@dataclass(frozen=True, eq=False)
class Step(Generic[T]):
    """A promise of one artifact of type T. Made by `step` or `gather`, never by hand."""

    name: str
    function: Callable[..., T]
    arguments: tuple[object, ...]
    tools: Mapping[str, str]
    cost: Cost


@dataclass(frozen=True, eq=False)
class Gather(Step[tuple[T, ...]]):
    """Several steps read by one: the reader gets a tuple. Builds nothing itself."""


@dataclass(frozen=True)
class Unkeyed(Generic[T]):
    """A parameter that does not change the artifact (where the repo lies, how hard to press): left out of the key."""

    value: T


Input: TypeAlias = Union[Step[A], Unkeyed[A], A]  # noqa: UP007  # `|` of these is no generic alias at run time


@overload
def step(name: str, function: Callable[[Path, A], T], a: Input[A], /, *, tools: Mapping[str, str] = ..., cost: Cost = ...) -> Step[T]: ...
@overload
def step(
    name: str, function: Callable[[Path, A, B], T], a: Input[A], b: Input[B], /, *, tools: Mapping[str, str] = ..., cost: Cost = ...
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
) -> Step[T]: ...
@overload
def step(
    name: str,
    function: Callable[[Path, A, B, C, D, E], T],
    a: Input[A],
    b: Input[B],
    c: Input[C],
    d: Input[D],
    e: Input[E],
    /,
    *,
    tools: Mapping[str, str] = ...,
    cost: Cost = ...,
) -> Step[T]: ...


def step(
    name: str, function: Callable[..., Any], *arguments: object, tools: Mapping[str, str] | None = None, cost: Cost | None = None
) -> Step[Any]:
    """Promise `function(directory, *arguments)`: each argument a step whose artifact is wanted, or a parameter.

    A wrong wiring is an error of the type checker. `tools` are the versions of programs the function runs.
    """
    return Step(name, function, arguments, dict(tools or {}), cost or Cost())


def gather(steps: Iterable[Step[T]]) -> Step[tuple[T, ...]]:
    """Let one step read many of the same type."""
    return Gather("", tuple, tuple(steps), {}, Cost())


def _inputs(one: Step[Any]) -> list[Step[Any]]:
    """Return the real steps that `one` reads."""
    found: list[Step[Any]] = []
    for argument in one.arguments:
        if isinstance(argument, Gather):
            found += _inputs(argument)
        elif isinstance(argument, Step):
            found.append(argument)
    return found


# --- keys -------------------------------------------------------------------------------------------------------------


@functools.cache
def source_digest(module: str) -> str:
    """Return the sha256 of a module's source and of every module of the same package that it imports, directly or not."""
    package = module.partition(".")[0]
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin) if spec is not None and spec.origin else None
        if origin is None:
            continue
        text = origin.read_bytes()
        seen[name] = hashlib.sha256(text).hexdigest()
        todo += [found for found in _imports(text, package) if found not in seen]
        # data that is read at run time lies beside the code: scripts
        for script in sorted(origin.parent.glob("*.sh")) if name != package else []:
            seen[str(script)] = hashlib.sha256(script.read_bytes()).hexdigest()
    return hashlib.sha256("\n".join(sorted(seen.values())).encode()).hexdigest()


def _imports(text: bytes, package: str) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] == package]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == package:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [node.module, *(name for name in names if _is_module(name))]
    return found


def _is_module(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def components(one: Step[Any]) -> dict[str, str]:
    """Return what the key of a step is made of, by name, so that a change can be told to the user."""
    names = [name for name in get_type_hints(one.function) if name != "return"][1:]
    parts = {"source": source_digest(one.function.__module__), "function": one.function.__qualname__}
    parts |= {f"tool {tool}": version for tool, version in one.tools.items()}
    for name, argument in zip(names, one.arguments, strict=True):
        if isinstance(argument, Gather):
            parts[f"inputs {name}"] = " ".join(key_of(each) for each in argument.arguments if isinstance(each, Step))
        elif isinstance(argument, Step):
            parts[f"input {name}"] = key_of(argument)
        elif not isinstance(argument, Unkeyed):
            parts[f"parameter {name}"] = TypeAdapter(type(argument)).dump_json(argument).decode()
    return parts


@functools.cache
def key_of(one: Step[Any]) -> str:
    """Return the key of a step: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(components(one), sort_keys=True).encode()).hexdigest()[:32]


def kind_of(one: Step[Any]) -> str:
    """Return the name of the step's stage, under which the store files its artifacts."""
    return one.function.__module__.rpartition(".")[2] + "." + one.function.__name__


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
            sorter.add(one, *_inputs(one))
            todo += _inputs(one)
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
            todo += _inputs(one)
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


def build(goals: Sequence[Step[Any]], store: Store, executor: Executor, *, budget: Cost, listener: Listener) -> Outcome:
    """Build what is missing for the goals, in parallel as far as `budget` allows, and go on past failures.

    A step that asks for more than the whole budget runs alone. KeyboardInterrupt passes through: the caller ends programs.
    """
    return _Build(goals, store, executor, budget, listener).run()


class _Build:
    def __init__(self, goals: Sequence[Step[Any]], store: Store, executor: Executor, budget: Cost, listener: Listener) -> None:
        self._store = store
        self._executor = executor
        self._budget = budget
        self._listener = listener
        self._outcome = Outcome()
        self._needed = _needed(goals, store)
        self._waiting = [one for one in order(goals) if one in self._needed]
        self._running: dict[Future[Record], Step[Any]] = {}
        store.remember({one.name: (kind_of(one), key_of(one)) for one in order(goals)})
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
            guilty = next((each for each in _inputs(one) if each in self._outcome.failed or each in self._outcome.not_started), None)
            if guilty is not None:
                self._waiting.remove(one)
                root = self._outcome.not_started.get(guilty, guilty)
                self._outcome.not_started[one] = root
                self._listener.not_started(one, root)
            elif all(each in self._outcome.values for each in _inputs(one)) and self._fits(one.cost):
                self._waiting.remove(one)
                self._start(one)

    def _fits(self, cost: Cost) -> bool:
        used = [one.cost for one in self._running.values()]
        cores, memory = sum(each.cores for each in used), sum(each.memory for each in used)
        return not used or (cores + cost.cores <= self._budget.cores and memory + cost.memory <= self._budget.memory)

    def _start(self, one: Step[Any]) -> None:
        kind, key = kind_of(one), key_of(one)
        self._listener.started(one, self._store.root / "scratch" / f"{kind}-{key}" / "log", busy=self._store.busy(kind, key))
        arguments = [self._value(argument) for argument in one.arguments]
        future = self._executor.submit(_run_step, self._store, kind, key, components(one), one.function, arguments)
        self._running[future] = one

    def _value(self, argument: object) -> object:
        if isinstance(argument, Gather):
            return tuple(self._outcome.values[each] for each in _inputs(argument))
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
