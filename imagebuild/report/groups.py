"""What each criterion is about: the rows of a matrix are grouped by it."""

from imagebuild.smoke.criteria.registry import criterion_named
from imagebuild.smoke.criterion import Group

# in the order in which a host meets them
ORDER = (
    Group.INSTALLER,
    Group.BOOTS,
    Group.SYSTEM,
    Group.ACCESS,
    Group.CLOUD_INIT,
    Group.CONTAINERS,
    Group.UPGRADES,
    Group.PACKAGES,
)


def group_of(criterion: str) -> str:
    """Return what a criterion is about; of one that is not known any more: the system."""
    record = criterion_named(criterion)
    return record.group if record is not None else Group.SYSTEM
