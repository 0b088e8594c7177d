"""The material of a release, gathered once from a finished graph."""

from collections.abc import Sequence

from imagebuild.engine import planning
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import key_of
from imagebuild.model import Delta, Image, IsoImage, Tree
from imagebuild.pipeline import Pipeline
from imagebuild.publish.facts import UpdateFacts
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
    trees = [outcome.value(one) for one in pipeline.previous]
    deltas = tuple(outcome.value(one) for one in pipeline.deltas)
    tools: dict[str, str] = {}
    for one in planning.order([pipeline.release]):
        tools |= one.tools
    # a configuration may have more kickstarts than its downloads are made with
    used = {name: outcome.values[one] for name, one in pipeline.kickstarts.items() if one in outcome.values}
    return Material(
        config=config,
        gate=key_of(pipeline.release),
        tree=outcome.value(pipeline.tree),
        previous=trees[0] if before.pin is not None else None,
        why_no_previous=before.why_not,
        downloads=downloads,
        cells=tuple(report.cells_of(pipeline, outcome)),
        kickstarts={name: kickstart.file for name, kickstart in used.items()},
        tools=tools,
        accelerator=builder.accelerator.name,
        slowness=builder.accelerator.slowness,
        today=builder.today,
        created=created,
        updates=_updates(trees, deltas, before),
        deltas=deltas,
    )


def _updates(trees: Sequence[Tree], deltas: Sequence[Delta], before: Before) -> tuple[UpdateFacts, ...]:
    sizes = {delta.base: delta.size for delta in deltas}
    names = {older.pin.commit: older.name for older in before.others}
    line = before.line.pin if before.line is not None else None
    return tuple(
        UpdateFacts(
            commit=tree.commit,
            version=tree.version,
            ref=line.ref if line is not None and tree.commit == line.commit else "",
            name=names.get(tree.commit, ""),
            size=sizes.get(tree.commit),
        )
        for tree in trees
    )
