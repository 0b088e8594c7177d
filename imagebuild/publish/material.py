"""What a release is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from imagebuild.model import Cell, Image, IsoImage, Tree
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
    why_no_previous: str
    downloads: tuple[Image | IsoImage, ...]
    cells: tuple[tuple[Cell, Path], ...]
    kickstarts: Mapping[str, Path]
    tools: Mapping[str, str]
    accelerator: str
    slowness: float
    today: date
    created: int
