"""A listener that does not listen."""

from pathlib import Path

from imagebuild.engine.steps import Step
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError


class Silent:
    def started(self, one: Step[object], log: Path, *, busy: bool) -> None: ...

    def finished(self, one: Step[object], record: StoredArtifact, *, cached: bool) -> None: ...

    def failed(self, one: Step[object], error: BuildError) -> None: ...

    def not_started(self, one: Step[object], because: Step[object]) -> None: ...
