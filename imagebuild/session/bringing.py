"""What is read when a build is over is brought here, where a shared store has it elsewhere still."""

from collections.abc import Iterable
from typing import Any

from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Step
from imagebuild.engine.store import Store
from imagebuild.pipeline import Pipeline


def shown(pipeline: Pipeline) -> tuple[Step[Any], ...]:
    """Return the steps whose files reports and people read."""
    return (*pipeline.isos, *pipeline.images, *pipeline.verdicts)


def released(pipeline: Pipeline) -> tuple[Step[Any], ...]:
    """Return the steps whose files a release is made of, besides those that are shown."""
    return (
        pipeline.tree,
        *pipeline.previous,
        *pipeline.deltas,
        *pipeline.kickstarts.values(),
        pipeline.release,
    )


def bring(store: Store, outcome: Outcome, wanted: Iterable[Step[Any]]) -> None:
    """Have the files of finished steps in the store's directory. Raises BuildError."""
    for one in wanted:
        record = outcome.records.get(one)
        if record is not None:
            store.need(record.directory.parent.name, record.directory.name)
