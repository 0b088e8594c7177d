"""The release criteria as a list, for people and other programs."""

from dataclasses import dataclass

from imagebuild.smoke.criteria.registry import CRITERIA
from imagebuild.smoke.criterion import EVERY_HOST as EVERYWHERE
from imagebuild.smoke.criterion import Group
from imagebuild.smoke.kinds_of_hosts import KINDS, answer, needed

# what `applies_to` says of a criterion that is asked of every host
EVERY_HOST = EVERYWHERE


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A release criterion: its name, as cells and waivers have it, what it is about (`group`), what it
    promises, and which hosts or media it is asked of.
    """

    name: str
    group: str
    about: str
    applies_to: str


def kinds_of_hosts() -> list[list[str]]:
    """Return a table, its head first: each criterion that not every host is asked, what it needs, and for
    each kind of host whether it has that (yes), never has it (—), or may have it (empty).
    """
    head = ["criterion", "needs", *(kind.name for kind in KINDS)]
    asked = [CRITERIA[each.name] for each in listed() if CRITERIA[each.name].needs]
    return [head, *([each.name, needed(each), *(answer(each, kind) for kind in KINDS)] for each in asked)]


def listed() -> list[Listed]:
    """Return all criteria, those that are about the same thing side by side; none is imported by pytest."""
    order = [*Group]
    criteria = sorted(CRITERIA.values(), key=lambda criterion: order.index(criterion.group))
    return [
        Listed(
            name=criterion.name,
            group=criterion.group,
            about=criterion.about,
            applies_to=criterion.applies_to,
        )
        for criterion in criteria
    ]
