"""Where steps run: a dispatcher says which fit now, and starts them; what a step is handed, and how it is run
there.

A step is handed *references* to the artifacts that it reads: they are looked up in the store of the machine
on which it runs. So the threads of this machine and the workers of a cluster run the same function.
"""

import functools
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from pydantic import TypeAdapter, ValidationError

from imagebuild import steplog
from imagebuild.engine import guest_slots
from imagebuild.engine.relocation import relocated
from imagebuild.engine.steps import Cost, Step, Unkeyed
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError

# with less free space than that, programs fail for the want of it
FULL_BYTES = 1 << 20
# what a step needs that only the machine has from which the build is asked for: a way to the origin of
# commits, or the place where a release is made
ORIGIN = "origin"


@dataclass(frozen=True)
class Reference:
    """The artifact that a step reads: its kind and key, and the function that made it, whose type it has."""

    kind: str
    key: str
    maker: Callable[..., Any]

    def read(self, store: Store) -> Any:
        """Return the artifact, its files in this store. Raises BuildError when it cannot be had."""
        return artifact_of(self.maker, store.need(self.kind, self.key))


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a step's builder is handed: `without` are the inputs that failed, `guests` the cores of its
    guests. Each argument is a Reference, a tuple of them, an Unkeyed, or a plain value; `root` is where the
    store lies of which those speak (None: it is the builder's).
    """

    kind: str
    key: str
    components: Mapping[str, str]
    function: Callable[..., Any]
    arguments: Sequence[object]
    guests: int
    without: tuple[str, ...]
    root: Path | None = None

    @property
    def references(self) -> list[Reference]:
        """All artifacts that it reads."""
        return [
            one
            for argument in self.arguments
            for one in (argument if isinstance(argument, tuple) else (argument,))
            if isinstance(one, Reference)
        ]


class Dispatcher(Protocol):
    """Runs steps, as many at a time as there is room for. All is called from the thread that builds."""

    def check(self, waiting: Sequence[Step[Any]]) -> None:
        """Raise BuildError when one of these steps can never run: called once, before anything runs."""

    def fits(self, one: Step[Any]) -> bool:
        """Whether there is room for a step now."""

    def why_never(self, one: Step[Any]) -> str | None:
        """Return why a step that does not fit now never will; None when it is only a matter of time."""

    def submit(self, task: Task, one: Step[Any]) -> "Future[StoredArtifact]":
        """Start a step that fits. The future ends with the record of its artifact in this machine's store, or
        raises BuildError.
        """

    def log_of(self, task: Task, one: Step[Any]) -> Path:
        """Return where the log of a step that is started next grows on this machine."""

    def where(self, one: Step[Any]) -> str | None:
        """Return the name of the worker that a step runs on, or ran on last; None: this machine."""

    def interrupt(self) -> None:
        """End what runs elsewhere, and wait for it: what runs here is ended by whoever interrupts."""


class HereDispatcher:
    """The threads of an executor, within a budget of cores and memory. A step that asks for more than all of
    it runs alone; background steps have a budget of the same size of their own, unless `one_at_a_time`.
    """

    def __init__(
        self, store: Store, executor: Executor, budget: Cost, *, one_at_a_time: bool = False
    ) -> None:
        self._store, self._executor, self._budget = store, executor, budget
        self._one_at_a_time = one_at_a_time
        self._running: dict[Future[StoredArtifact], Step[Any]] = {}

    def check(self, waiting: Sequence[Step[Any]]) -> None:
        """Everything can run here, at least alone."""

    def fits(self, one: Step[Any]) -> bool:
        """Whether the budget has room for a step now."""
        cost = one.cost
        self._running = {future: one for future, one in self._running.items() if not future.done()}
        if self._one_at_a_time:
            return not self._running
        used = [one.cost for one in self._running.values() if one.cost.background == cost.background]
        return has_room(cost, used, self._budget)

    def why_never(self, one: Step[Any]) -> str | None:
        """Only a matter of time."""
        del one
        return None

    def submit(self, task: Task, one: Step[Any]) -> "Future[StoredArtifact]":
        """Start a step."""
        future = self._executor.submit(run_step, self._store, task)
        self._running[future] = one
        return future

    def log_of(self, task: Task, one: Step[Any]) -> Path:
        """Return where the step's log grows."""
        del one
        return self._store.root / "scratch" / f"{task.kind}-{task.key}" / "log"

    def where(self, one: Step[Any]) -> str | None:
        """Here."""
        del one
        return None

    def interrupt(self) -> None:
        """Nothing runs elsewhere."""


def has_room(cost: Cost, used: Sequence[Cost], budget: Cost) -> bool:
    """Whether a step fits beside those that run; what asks for more than the whole budget runs alone."""
    cores, memory = sum(each.cores for each in used), sum(each.memory for each in used)
    return not used or (cores + cost.cores <= budget.cores and memory + cost.memory <= budget.memory)


@functools.cache
def _type_of(maker: Callable[..., Any]) -> TypeAdapter[Any]:
    return TypeAdapter(get_type_hints(maker, include_extras=True)["return"])


def artifact_of(maker: Callable[..., Any], record: StoredArtifact, *, step: str | None = None) -> Any:
    """Return the artifact that a record of what `maker` (in that step) made stands for. Raises BuildError for
    what a store says that is not one: it may come from another machine.
    """
    try:
        return _type_of(maker).validate_python(record.value, context={"base": record.directory})
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{record.directory.parent.name}-{record.directory.name}"
        raise BuildError(
            f"{step or maker.__name__}: the artifact {name} is not one:"
            f" {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint="find out who wrote it; then remove it from the store, or from the remote one (results/)",
        ) from error


def as_it_is(value: object) -> object:
    """Return what is handed over: on this machine it is right."""
    return value


def run_step(store: Store, task: Task, localise: Callable[[object], object] = as_it_is) -> StoredArtifact:
    """Build one step with a machine's store; everything handed over can be pickled, so this may run on
    another machine.

    `localise` turns what is in no key (how fast a guest is) into what is true there. Raises
    BuildError; its log, and its evidence if it has any, lie in the store's `failed`.
    """
    try:
        return _run_step(store, task, localise)
    except OSError as error:
        raise BuildError(
            f"{task.kind}-{task.key} cannot be kept in {store.root}: {error}",
            hint="make space (imagebuild gc), or look at that file system",
        ) from error


def _run_step(store: Store, task: Task, localise: Callable[[object], object]) -> StoredArtifact:
    kind, key, function = task.kind, task.key, task.function
    with store.lock(kind, key):
        winner = store.find(kind, key)
        if winner is not None:
            return winner
        scratch = store.scratch(kind, key)
        begun = time.monotonic()
        try:
            with steplog.writing_to(scratch.log):
                artifact = _call(store, task, scratch.out, localise)
            value = _type_of(function).dump_python(artifact, mode="json", context={"base": scratch.directory})
            return store.finish(
                scratch, kind, key, value=value, components=task.components, seconds=time.monotonic() - begun
            )
        except BuildError as error:
            _tell_of_a_full_disk(error, store.root)
            evidence = getattr(error, "evidence", None)
            kept = store.fail(scratch, kind, key, keep_output=evidence is not None)
            error.log = kept / "log"
            if evidence is not None:
                error.evidence = kept / evidence.relative_to(scratch.directory)  # type: ignore[attr-defined]  # it has one
            raise


def _tell_of_a_full_disk(error: BuildError, root: Path) -> None:
    """Add to an error that the store's file system is full, before what the step wrote goes: a program may
    have said something else (sync(1) of a loop device, "Input/output error").
    """
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return
    if free < FULL_BYTES:
        full = f"{root} is full, {free / 1e6:.1f} MB are free: make space (imagebuild gc)"
        error.hint = f"{full}; {error.hint}" if error.hint else full


def _resolve(argument: object, task: Task, store: Store, localise: Callable[[object], object]) -> object:
    if isinstance(argument, Reference):
        return argument.read(store)
    if isinstance(argument, Unkeyed):
        return localise(relocated(argument.value, task.root or store.root, store.root))
    if isinstance(argument, tuple) and argument and all(isinstance(each, Reference) for each in argument):
        return tuple(each.read(store) for each in argument)
    return argument


def _call(store: Store, task: Task, out: Path, localise: Callable[[object], object]) -> Any:
    function = task.function
    if task.without:
        steplog.note(f"without what failed: {', '.join(task.without)}")
    try:
        arguments = [_resolve(argument, task, store, localise) for argument in task.arguments]
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
