"""What a release is made of: everything that a finished graph knows, gathered once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from imagebuild import graph, report
from imagebuild.config import Config
from imagebuild.graph import Outcome
from imagebuild.model import Cell, Image, IsoImage, Tree
from imagebuild.pipeline import Host, Pipeline
from imagebuild.stages.tree import Before
from imagebuild.steps import key_of


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a release is made of. `gate` is the key of the step that admitted it; `downloads` have come past it."""

    config: Config
    gate: str
    tree: Tree
    previous: Tree | None
    why_no_previous: str
    downloads: tuple[Image | IsoImage, ...]
    cells: tuple[tuple[Cell, Path], ...]
    kickstarts: Mapping[str, Path]
    tools: Mapping[str, str]
    accelerator: str
    slowness: float
    today: date
    created: int


def material_of(config: Config, pipeline: Pipeline, outcome: Outcome, host: Host, before: Before, created: int) -> Material:
    """Gather the material of a build that came past its gate."""
    downloads: tuple[Image | IsoImage, ...] = (
        *(outcome.value(one) for one in pipeline.isos),
        *(outcome.value(one) for one in pipeline.images),
    )
    tools: dict[str, str] = {}
    for one in graph.order([pipeline.release]):
        tools |= one.tools
    # a configuration may have more kickstarts than its downloads are made with
    used = {name: outcome.values[one] for name, one in pipeline.kickstarts.items() if one in outcome.values}
    return Material(
        config=config, gate=key_of(pipeline.release), tree=outcome.value(pipeline.tree),
        previous=next((outcome.value(one) for one in pipeline.previous), None), why_no_previous=before.why_not, downloads=downloads,
        cells=tuple(report.cells_of(pipeline, outcome)), kickstarts={name: kickstart.file for name, kickstart in used.items()},
        tools=tools, accelerator=host.accelerator.name, slowness=host.accelerator.slowness, today=host.today, created=created,
    )  # fmt: skip
