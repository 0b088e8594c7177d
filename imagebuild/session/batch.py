"""Builds of several refs as one: one graph, in which what they share is built once, and an end for each ref
as soon as nothing of it is left to do.

    orders = [Order(ref=ref, config=file) for ref, file in choose(refs=[], patterns=["fedora/*/x86_64/*"], …)]
    prepared = prepare_each(orders)
    batch = join(prepared.builds, prepared.failed)
    endings = batch.run(Quiet(), conclude=lambda build, result: build.release(result, wish))
    print(exit_code(endings))

The failure of one ref holds up no other. Nothing here prints.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild.engine import planning
from imagebuild.engine.graph import Listener, Outcome
from imagebuild.engine.priorities import usual_seconds
from imagebuild.engine.sharing import share, split
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, CriteriaError, UsageError
from imagebuild.pipeline import Pipeline
from imagebuild.session.build import (
    Build,
    Order,
    PlannedStep,
    Result,
    check_space,
    prepare,
    say_nothing,
    space_for,
)
from imagebuild.session.endings import Endings
from imagebuild.session.events import Listeners
from imagebuild.session.releases import Published
from imagebuild.session.running import run_graph

# what becomes of a ref whose steps have all ended: its release, or None when there is none
Conclude = Callable[[Build, Result], Published | None]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What has become of one ref: how its steps ended (None: it never came to them), what was released, and
    the error besides failed steps: of preparing it, or of its release.
    """

    ref: str
    result: Result | None = None
    published: Published | None = None
    error: BuildError | None = None

    @property
    def exit_code(self) -> int:
        """0 all good; 1 something failed; 3 only release criteria failed."""
        if self.error is not None:
            return CriteriaError.exit_code if isinstance(self.error, CriteriaError) else BuildError.exit_code
        if self.result is None or not self.result.failed:
            return 0
        return CriteriaError.exit_code if self.result.only_criteria_failed else BuildError.exit_code


def exit_code(endings: Iterable[Ending]) -> int:
    """Return the exit code of several refs: 1 before 3 before 0."""
    codes = {ending.exit_code for ending in endings}
    return next((code for code in (BuildError.exit_code, CriteriaError.exit_code) if code in codes), 0)


@dataclass(kw_only=True)
class Prepared:
    """The builds of refs that could be prepared, in order, and why the others could not."""

    builds: list[Build] = field(default_factory=list)
    failed: dict[str, BuildError] = field(default_factory=dict)

    def check(self) -> None:
        """Take out each ref that could not be released in the end: `failed` says why."""
        for build in list(self.builds):
            try:
                build.check_release()
            except BuildError as error:
                self.builds.remove(build)
                self.failed[build.ref] = error


def prepare_each(orders: Sequence[Order], say: Callable[[str], None] = say_nothing) -> Prepared:
    """Prepare the build of each ref; one whose commit cannot be had is among the failed ones. Raises
    UsageError when nothing can be built, and that is the fault of what was asked.
    """
    prepared = Prepared()
    for order in orders:
        try:
            prepared.builds.append(prepare(order, say))
        except BuildError as error:
            prepared.failed[str(order.ref)] = error
    if not prepared.builds:
        for ref, reason in prepared.failed.items():
            if isinstance(reason, UsageError):
                raise UsageError(f"{ref}: {reason.message}", hint=reason.hint) from reason
    return prepared


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Builds in one graph, with what the store has of it; `failed` are the refs that have no build."""

    builds: tuple[Build, ...]
    failed: Mapping[str, BuildError]
    store: Store
    planned: tuple[planning.Planned, ...]
    # bytes in the store
    space: int

    def plan(self) -> list[PlannedStep]:
        """Return the steps of each ref in turn, in the order of building; a shared one stands with the first
        that needs it.
        """
        seconds, needed_by = usual_seconds(self.store), self._needed_by()
        steps = [
            PlannedStep(
                name=planned.step.name,
                todo=planned.todo,
                reason=planned.reason,
                # builds of that ref alone know it by its short name
                usual_seconds=seconds.get(planned.step.name, seconds.get(split(planned.step.name)[1])),
                refs=needed_by[planned.step],
            )
            for planned in self.planned
        ]
        first = [build.ref for build in self.builds]
        return sorted(steps, key=lambda step: first.index(step.refs[0]))

    def _needed_by(self) -> dict[Step[Any], tuple[str, ...]]:
        needed_by: dict[Step[Any], tuple[str, ...]] = {}
        for build in self.builds:
            for step in planning.order([build.pipeline.release]):
                needed_by[step] = (*needed_by.get(step, ()), build.ref)
        return needed_by

    def check(self) -> None:
        """Raise BuildError when there is too little space for all of it."""
        check_space(self.store, self.space)

    def run(
        self,
        listener: Listener,
        conclude: Conclude,
        *,
        jobs: int | None = None,
        interrupted: Callable[[], None] = lambda: None,
    ) -> list[Ending]:
        """Build what is missing, and return what has become of each ref.

        `conclude` is called for each ref as soon as nothing of it is left to do, while other refs are still
        being built: in another thread, for one ref at a time.
        """
        concluded: dict[str, Future[Ending]] = {}
        executor = ThreadPoolExecutor(1, thread_name_prefix="conclude")
        by_ref = {build.ref: build for build in self.builds}

        def end(ref: str) -> None:
            # a copy of it as it is now: the graph goes on
            concluded[ref] = executor.submit(_concluded, by_ref[ref], endings.outcome(ref), conclude)

        goals = {build.ref: build.pipeline.release for build in self.builds}
        endings = Endings(goals, self.store, end)
        try:
            run_graph(
                list(goals.values()),
                self.store,
                Listeners([listener, endings]),
                jobs=jobs,
                interrupted=interrupted,
                cluster=self.builds[0].order.cluster,
            )
        except BaseException:
            # also an interrupt: nothing more is released, and nobody waits
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        executor.shutdown()
        unbuilt = [Ending(ref=ref, error=error) for ref, error in self.failed.items()]
        return [*(concluded[ref].result() for ref in by_ref), *unbuilt]


def _concluded(build: Build, outcome: Outcome, conclude: Conclude) -> Ending:
    result = None
    try:
        result = build.result(outcome)
        return Ending(ref=build.ref, result=result, published=conclude(build, result))
    except BuildError as error:
        return Ending(ref=build.ref, result=result, error=error)
    except OSError as error:
        # other refs go on
        return Ending(
            ref=build.ref,
            result=result,
            error=BuildError(f"what was built could not be told or released: {error}", hint="see --reports"),
        )


def join(builds: Sequence[Build], failed: Mapping[str, BuildError] | None = None) -> Batch:
    """Put builds into one graph: what has the same key in several is one step. `builds` has one at least,
    each ref once; all have one store.
    """
    common = share({build.ref: build.pipeline.release for build in builds})
    store = builds[0].store
    joined = tuple(
        dataclasses.replace(build, pipeline=_in_common(build.pipeline, common), store=store)
        for build in builds
    )
    return Batch(
        builds=joined,
        failed=failed or {},
        store=store,
        planned=tuple(planning.plan([build.pipeline.release for build in joined], store)),
        space=sum(map(space_for, builds)),
    )


def _in_common(pipeline: Pipeline, common: Mapping[Step[Any], Step[Any]]) -> Pipeline:
    """Return a pipeline with the steps of a common graph; what its release does not need stays as it is."""

    def moved(value: Any) -> Any:
        if isinstance(value, Step):
            return common.get(value, value)
        if isinstance(value, dict):
            return {key: moved(each) for key, each in value.items()}
        return tuple(moved(each) for each in value)

    fields = {each.name: moved(getattr(pipeline, each.name)) for each in dataclasses.fields(pipeline)}
    return dataclasses.replace(pipeline, **fields)


def place_of(reports: Path, ref: str) -> Path:
    """Return the directory of a ref's own reports, where those of several lie."""
    return reports / ref
