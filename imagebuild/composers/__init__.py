"""Ways to make a tree. A composer takes a configuration and a directory and returns the commit it made, or found unchanged."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Composed:
    """The head of a ref after composing; `new` says whether it moved."""

    repo: Path
    ref: str
    commit: str
    version: str
    new: bool
