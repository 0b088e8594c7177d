"""The release criteria as a list, for people and other programs."""

from dataclasses import dataclass

from imagebuild.smoke import criteria


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A release criterion: its name, as cells and waivers have it, and what it says (empty: its name says
    it).
    """

    name: str
    about: str


def listed() -> list[Criterion]:
    """Return all criteria in the order of their files, without running or importing any."""
    return [Criterion(name=name, about=about) for name, about in criteria.sentences()]
