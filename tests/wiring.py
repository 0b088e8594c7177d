"""The graph of a configuration."""

from pathlib import Path
from typing import Any

from imagebuild.engine import planning
from imagebuild.engine.steps import key_of
from imagebuild.pipeline import Pipeline, wire
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from imagebuild.stages.tree import Pin
from imagebuild.tools.accelerator import Accelerator
from imagebuild.wiring.builder import Builder
from tests.data import ROOT

TCG = Accelerator(name="tcg", slowness=6.0, reason="test")


def wired(settings: Config, *, accelerator: Accelerator = TCG, **host: Any) -> Pipeline:
    pinned = Pin(ref=settings.the_ref(), commit="ab" * 32)
    builder = Builder(repo=Path("/repo"), accelerator=accelerator, **({"populate": ("native",)} | host))
    return wire(settings, pinned, builder)


def settings() -> Config:
    return config.load(ROOT / "configs" / "debian-12.yaml", Path("/store"))


def keys(pipeline: Pipeline) -> dict[str, str]:
    return {one.name: key_of(one) for one in planning.order([pipeline.release])}


def changed(one: Pipeline, other: Pipeline) -> set[str]:
    before, after = keys(one), keys(other)
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}
