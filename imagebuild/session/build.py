"""A build: prepare → plan → run → release. What `imagebuild all` does, for programs.

    order = Order(ref="debian/12/x86_64/atomic-host", store=Path("build/store"))
    build = prepare(order)
    for step in build.plan():
        print("build" if step.todo else "keep", step.name, step.reason)
    result = build.run(listener=Quiet())
    for cell, evidence in result.cells:
        print(cell.criterion, cell.artifact, cell.firmware, cell.state)
    if not result.failed:
        print(build.release(result, Wish(output=Path("build/release"))).place)

Nothing here prints. A failed step does not raise: `Result.failed` has it. Raised are UsageError for what is
asked wrongly and BuildError for what fails before the first step runs.
"""

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild import files
from imagebuild.architectures.registry import builder_architecture
from imagebuild.config.places import cache_directory, source_date_epoch
from imagebuild.deploy.ways import choose_ways
from imagebuild.engine import planning, steps
from imagebuild.engine.graph import Listener, Outcome
from imagebuild.engine.priorities import usual_seconds
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store, StoredArtifact
from imagebuild.errors import BuildError, CriteriaError, UsageError
from imagebuild.installers.registry import choose as choose_installer
from imagebuild.kinds import Firmware
from imagebuild.model import Cell, Image, IsoImage, Tree
from imagebuild.pipeline import Pipeline, space_needed, wire
from imagebuild.publish import binding, stable
from imagebuild.release_line.model import Config
from imagebuild.release_line.narrow import narrow
from imagebuild.session import lines
from imagebuild.session.bringing import bring, released, shown
from imagebuild.session.clusters import ClusterOrder, as_its_workers
from imagebuild.session.material import material_of
from imagebuild.session.outcome import cells_of
from imagebuild.session.releases import Published, Wish, check_commit, check_signer, publish
from imagebuild.session.running import run_graph
from imagebuild.stages.downgrade import newer_than, seen
from imagebuild.stages.earlier import LineBefore, releases_before
from imagebuild.stages.tree import Before, commit_object, pin
from imagebuild.tools import accelerator
from imagebuild.wiring.builder import Builder
from imagebuild.wiring.stores import open_store

GIB = 1024**3
# size of a tree's content when nothing is known of it yet
ASSUMED_TREE = 1_500_000_000


def say_nothing(_: str) -> None:
    """Say nothing: for whoever does not want to know how preparing goes."""


class Quiet:
    """A listener that does not listen."""

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """A step runs."""

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """A step's artifact is there."""

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """A step failed."""

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """A step was never started."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be built: a ref, or the only ref of a configuration, and where its artifacts lie.

    `store_remote` is the address of what other machines share with that store (wiring/stores.py). `output` is
    where releases lie: hosts upgrade from the last one there. `populate`: offline, native or
    appliance; None: the best that works. `only` (formats) and `firmware` make a build of a part, which cannot
    be released. `cluster`: whose workers build; None: this machine does.
    """

    ref: str | None = None
    config: Path | None = None
    store: Path = Path("build/store")
    store_remote: str | None = None
    output: Path = Path("build/release")
    populate: str | None = None
    only: Collection[str] = ()
    firmware: Firmware | None = None
    cluster: ClusterOrder | None = None

    @property
    def partial(self) -> bool:
        """Whether less than the whole release line is asked for."""
        return bool(self.only) or self.firmware is not None


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step: whether it must be built, why or why not, and the seconds that it took the last time (None:
    never).

    `refs`: of a build of several, those that need it.
    """

    name: str
    todo: bool
    reason: str
    usual_seconds: float | None
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a build ended: the downloads, the cells with the directory of each one's evidence, and what failed.

    `not_started`: name of a step -> name of the step whose failure kept it from being built.
    """

    outcome: Outcome
    tree: Tree | None
    downloads: tuple[Image | IsoImage, ...]
    cells: tuple[tuple[Cell, Path], ...]
    failed: dict[str, BuildError]
    not_started: dict[str, str]

    @property
    def only_criteria_failed(self) -> bool:
        """Whether everything could be built, and release criteria do not hold."""
        return bool(self.failed) and all(isinstance(error, CriteriaError) for error in self.failed.values())


@dataclass(frozen=True, kw_only=True)
class Build:
    """A wired graph, and what the store has of it. `remarks` are what a person wants to know of it."""

    order: Order
    config: Config
    ref: str
    commit: str
    builder: Builder
    before: Before
    pipeline: Pipeline
    store: Store
    planned: tuple[planning.Planned, ...]
    remarks: tuple[str, ...]

    def plan(self) -> list[PlannedStep]:
        """Return every step in the order of building, and why it must be built or not."""
        seconds = usual_seconds(self.store)
        return [
            PlannedStep(
                name=planned.step.name,
                todo=planned.todo,
                reason=planned.reason,
                usual_seconds=seconds.get(planned.step.name),
            )
            for planned in self.planned
        ]

    def check(self) -> None:
        """Raise BuildError for what would end the build after hours: a commit that is marked bad, too little
        space, a key that cannot sign.
        """
        self.check_release()
        check_space(self.store, space_for(self))

    def check_release(self) -> None:
        """Raise BuildError when nothing of it could be released: a commit that is marked bad, a key that
        cannot sign.
        """
        check_commit(self.order.output, self.commit)
        check_signer(self.config)

    def run(
        self,
        listener: Listener,
        *,
        jobs: int | None = None,
        interrupted: Callable[[], None] = lambda: None,
    ) -> Result:
        """Build what is missing, as `run_graph` does."""
        outcome = run_graph(
            [self.pipeline.release],
            self.store,
            listener,
            jobs=jobs,
            interrupted=interrupted,
            cluster=self.order.cluster,
        )
        return self.result(outcome)

    def result(self, outcome: Outcome) -> Result:
        """Return how it ended, with what is shown of it here. Raises BuildError when that cannot be had."""
        return result_of(self.store, self.pipeline, outcome)

    def release(self, result: Result, wish: Wish) -> Published:
        """Name, sign and lay out what was built and tested. Raises BuildError: it has holes, nobody signs."""
        if self.order.partial:
            raise UsageError(
                "a part of a release line is not released", hint="build it without --only and --firmware"
            )
        bring(self.store, result.outcome, released(self.pipeline))
        created = source_date_epoch() or int(time.time())
        material = material_of(self.config, self.pipeline, result.outcome, self.builder, self.before, created)
        return publish(material, wish)

    def release_finished(self, wish: Wish) -> tuple[Result, Published]:
        """Release what was built and tested before. Raises BuildError when anything is missing."""
        missing = [
            planned.step.name
            for planned in self.planned
            if planned.todo and planned.step is not self.pipeline.release
        ]
        if missing:
            raise BuildError(
                f"not finished: {', '.join(missing)}", hint="imagebuild all builds and tests what is missing"
            )
        result = self.run(Quiet(), jobs=1)
        return result, self.release(result, wish)


def prepare(order: Order, say: Callable[[str], None] = say_nothing) -> Build:
    """Find the release line, pin its ref to a commit, and wire the graph. `say` hears of what takes long.

    Raises UsageError for what is asked wrongly, BuildError when the commit cannot be had, or the cluster.
    """
    with as_its_workers(order.cluster, order.store, order.store_remote):
        return _prepare(order, say)


def _prepare(order: Order, say: Callable[[str], None]) -> Build:
    config, ref = lines.load(order.ref, order.config, order.store)
    if order.partial:
        config = narrow(config, order.only, order.firmware)
    # of a cluster it is asked which worker can run a tree's programs
    ways, why = choose_ways(order.populate, config.arch if order.cluster is None else builder_architecture())
    speed = accelerator.probe(cache_directory()).of(config.arch)
    pinned = pin(config.tree, ref, update_ref=config.stable_ref(ref), say=say)
    binding.check(config, ref, pinned.commit, commit_object(config.tree, pinned.commit))
    place = order.store.absolute()
    released = stable.last_commit(config, order.output, ref, but=pinned.commit)
    newer = newer_than(config.tree, pinned, seen(place / "repo", ref, released), say)
    before = releases_before(
        config.tree,
        pinned,
        given=config.previous or (),
        released=None if released in newer else released,
        line=_line_before(config),
    )
    builder = Builder(
        repo=place / "repo",
        populate=ways,
        accelerator=speed,
        epoch=source_date_epoch(),
        cells=place / "cells",
        saved=place / "saved-boots",
        arch=config.arch,
        cells_remote=order.store_remote,
    )
    pipeline, store = wire(config, pinned, builder, before), open_store(order.store, order.store_remote)
    remarks = [
        f"{ref} is {pinned.commit}",
        *([store.remark] if store.remark is not None else []),
        *_about_upgrades(config, before),
        f"populating disks: {' or '.join(ways)} ({why})",
        f"guests: {speed.name}, {speed.slowness:.1f} times slower than native ({speed.reason})",
    ]
    if config.installer is not None:
        backend, reason = choose_installer(config.installer, config.product, config.release)
        remarks.append(f"installer ISO: {backend} ({reason})")
    return Build(
        order=order,
        config=config,
        ref=ref,
        commit=pinned.commit,
        builder=builder,
        before=before,
        pipeline=pipeline,
        store=store,
        planned=tuple(planning.plan([pipeline.release], store)),
        remarks=tuple(remarks),
    )


def _line_before(config: Config) -> LineBefore:
    urls = (config.publish.repo, config.tree.url)
    local = [url for url in urls if url is not None and url.startswith(files.FILE_URL)]
    return LineBefore(ref=config.publish.previous_major, urls=tuple(dict.fromkeys(local)))


def _about_upgrades(config: Config, before: Before) -> list[str]:
    said = [f"no previous release: {before.why_not}"] if before.pin is None else []
    if before.pin is not None:
        said.append(f"hosts upgrade from {before.pin.commit}")
    if before.lost is not None:
        said.append(
            f"hosts will not find that release by its version: {before.lost} (compose with it as the parent)"
        )
    said += [f"and from {older.version} ({older.pin.commit})" for older in before.others]
    if before.line is not None:
        said.append(f"and from {before.line.version} of {before.line.pin.ref} ({before.line.pin.commit})")
    elif config.publish.previous_major is not None:
        said.append(f"no release line before: {before.why_no_line}")
    return said


def space_for(build: Build) -> int:
    """Return the bytes that a build still needs in its store, at most."""
    missing = frozenset(planned.step.name for planned in build.planned if planned.todo)
    pull = next(planned.step for planned in build.planned if planned.step is build.pipeline.tree)
    record = build.store.find(steps.kind_of(pull), steps.key_of(pull))
    return space_needed(build.config, int(record.value["size"]) if record else ASSUMED_TREE, missing)


def check_space(store: Store, needed: int) -> None:
    """Raise BuildError when a store has no room for so many bytes."""
    free = shutil.disk_usage(store.root).free
    if needed > free:
        raise BuildError(
            f"not enough space in {store.root}: this build needs about {needed / GIB:.1f} GiB,"
            f" {free / GIB:.1f} GiB are free",
            hint="imagebuild gc frees what older builds left; or give --store a larger file system",
        )


def result_of(store: Store, pipeline: Pipeline, outcome: Outcome) -> Result:
    """Return how a build ended, from what became of the steps of its graph; its evidence is brought here."""
    bring(store, outcome, shown(pipeline))
    downloads: tuple[Step[Any], ...] = (*pipeline.isos, *pipeline.images)
    return Result(
        outcome=outcome,
        tree=outcome.values.get(pipeline.tree),
        downloads=tuple(outcome.values[step] for step in downloads if step in outcome.values),
        cells=tuple(cells_of(pipeline, outcome)),
        failed={step.name: error for step, error in outcome.failed.items()},
        not_started={step.name: because.name for step, because in outcome.not_started.items()},
    )
