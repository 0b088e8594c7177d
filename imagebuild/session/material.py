"""The material of a release, gathered once from a finished graph."""

from imagebuild.engine import planning
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import key_of
from imagebuild.model import Image, IsoImage
from imagebuild.pipeline import Pipeline
from imagebuild.publish.material import Material
from imagebuild.release_line.model import Config
from imagebuild.session import outcome as report
from imagebuild.stages.tree import Before
from imagebuild.wiring.builder import Builder


def material_of(
    config: Config, pipeline: Pipeline, outcome: Outcome, builder: Builder, before: Before, created: int
) -> Material:
    """Gather the material of a build that came past its gate."""
    downloads: tuple[Image | IsoImage, ...] = (
        *(outcome.value(one) for one in pipeline.isos),
        *(outcome.value(one) for one in pipeline.images),
    )
    tools: dict[str, str] = {}
    for one in planning.order([pipeline.release]):
        tools |= one.tools
    # a configuration may have more kickstarts than its downloads are made with
    used = {name: outcome.values[one] for name, one in pipeline.kickstarts.items() if one in outcome.values}
    return Material(
        config=config,
        gate=key_of(pipeline.release),
        tree=outcome.value(pipeline.tree),
        previous=next((outcome.value(one) for one in pipeline.previous), None),
        why_no_previous=before.why_not,
        downloads=downloads,
        cells=tuple(report.cells_of(pipeline, outcome)),
        kickstarts={name: kickstart.file for name, kickstart in used.items()},
        tools=tools,
        accelerator=builder.accelerator.name,
        slowness=builder.accelerator.slowness,
        today=builder.today,
        created=created,
    )
