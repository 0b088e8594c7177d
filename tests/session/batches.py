"""Builds of several release lines of the lab, ready to be joined."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild.engine import planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Step, step
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.model import Release, Verdict
from imagebuild.pipeline import Pipeline
from imagebuild.session.build import Build, Order
from imagebuild.stages.tree import Before
from imagebuild.tools.accelerator import Accelerator
from imagebuild.wiring.builder import Builder
from tests.release_lab import FIRST, Line
from tests.session.handed_out import wired

TCG = Accelerator(name="tcg", slowness=3.0, reason="x")


def build_of(line: Line, store: Path, *, fails: type[BuildError] | None = None) -> Build:
    """Return the build of a line's first commit; `fails`: how one of its tests does."""
    # a commit of its own: in the same second the same files would be the same one
    tree = line.trees[0] if line.trees else line.commit(f"{line.config.release}.1", FIRST)
    pipeline = wired(line, tree, None)
    if fails is not None:
        pipeline = _failing(pipeline, fails)
    opened = DirectoryStore(store)
    return Build(
        order=Order(ref=line.ref, store=store, output=line.output),
        config=line.config,
        ref=line.ref,
        commit=tree.commit,
        builder=Builder(repo=line.repo.path, populate=("native",), accelerator=TCG),
        before=Before(pin=None, why_not="the first", first=True),
        pipeline=pipeline,
        store=opened,
        planned=tuple(planning.plan([pipeline.release], opened)),
        remarks=(),
    )


def _failing(pipeline: Pipeline, error: type[BuildError]) -> Pipeline:
    bad: Step[Verdict] = step("smoke test", fail_test, pipeline.tree, error is CriteriaError)
    release: Step[Any] = step("release", admit_tested, pipeline.release, bad)
    return replace(pipeline, verdicts=(*pipeline.verdicts, bad), release=release)


def fail_test(out: Path, tree: object, criteria: bool) -> Verdict:
    """Fail as a smoke test does, or as any other step."""
    del tree
    if criteria:
        place = out / "smoke"
        (place / "evidence").mkdir(parents=True)
        (place / "verdict.json").write_text("[]")
        raise CriteriaError("it does not boot", evidence=place)
    raise BuildError("no luck")


def admit_tested(out: Path, release: Release, verdict: Verdict) -> Release:
    """Never comes to run: what it reads fails."""
    del out, verdict
    return release
