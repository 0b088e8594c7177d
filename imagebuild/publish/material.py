"""What a release is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from imagebuild.model import Cell, Delta, Image, IsoImage, Tree
from imagebuild.publish.facts import UpdateFacts
from imagebuild.release_line.model import Config


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a release is made of. `gate` is the key of the step that admitted it; `downloads` have come past
    it.
    """

    config: Config
    gate: str
    tree: Tree
    previous: Tree | None
    why_no_previous: str | None
    downloads: tuple[Image | IsoImage, ...]
    cells: tuple[tuple[Cell, Path], ...]
    kickstarts: Mapping[str, Path]
    tools: Mapping[str, str]
    accelerator: str
    slowness: float
    today: date
    created: int
    updates: tuple[UpdateFacts, ...] = ()
    deltas: tuple[Delta, ...] = ()

    @property
    def older(self) -> tuple[str, ...]:
        """The releases besides the one before that have a cell of their own, by its name."""
        return tuple(update.name for update in self.updates if update.name)
