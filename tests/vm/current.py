"""The pipelines of lines of hosts of today; composing their trees is kept between runs."""

from dataclasses import replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.composers.mmdebstrap import MmdebstrapConfig
from imagebuild.config.places import cache_directory
from imagebuild.config.root import RootConfig
from imagebuild.pipeline import wire
from imagebuild.release_line import reading
from imagebuild.stages.tree import pin
from imagebuild.wiring.builder import Builder
from tests.data import ROOT
from tests.vm.wiring import Lab


def lab(name: str, store: Path, builder: Builder, *, root: RootConfig | None = None) -> Lab:
    """The pipeline of configs/NAME.yaml, in a store of its own; `root`: its trees ask for another root file
    system.
    """
    variant = f"-{root.composefs}" if root is not None else ""
    directory = cache_directory() / f"test-compose-{name}{variant}"
    directory.mkdir(parents=True, exist_ok=True)
    (store / "compose").symlink_to(directory)
    settings = reading.load(ROOT / "configs" / f"{name}.yaml", store)
    assert isinstance(settings.compose, MmdebstrapConfig)
    # a test's mirror may be frozen
    changed: dict[str, object] = {"check_valid_until": False}
    if root is not None:
        changed |= {"root": root, "first_without": None}
    settings = settings.model_copy(update={"compose": settings.compose.model_copy(update=changed)})
    assert settings.compose is not None
    job = Job(
        directory=directory,
        ref=settings.the_ref(),
        tree=settings.tree,
        cache=cache_directory(),
        arch=settings.arch,
    )
    with steplog.writing_to(directory / "compose.log"):
        composers.compose(job, settings.compose)
    host = replace(builder, repo=store / "repo")
    pipeline = wire(settings, pin(settings.tree, settings.the_ref()), host)
    return Lab(settings=settings, host=host, pipeline=pipeline, store=store)
