"""A composer that finds everything unchanged."""

from typing import Literal

from imagebuild.composers.composer import Composed, Composer, ComposerConfig, Job


class EmptyConfig(ComposerConfig):
    """What is found."""

    composer: Literal["empty"]
    version: str


def compose(job: Job, options: EmptyConfig) -> Composed:
    return Composed(
        repo=job.directory / "repo", ref=job.ref, commit="0" * 64, version=options.version, new=False
    )


RECORD = Composer(name="empty", options=EmptyConfig, compose=compose, tools=("cat",))
