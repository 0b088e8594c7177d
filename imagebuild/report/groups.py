"""What each criterion is about: the rows of a matrix are grouped by it."""

from imagebuild.smoke.criteria import BY_ATOMIC

# in the order in which a host meets them; a criterion belongs to the first group one of whose words it has
GROUPS: dict[str, tuple[str, ...]] = {
    "installer": ("installer-media",),
    "cloud-init": ("cloud-init",),
    "packages": ("layer",),
    "containers": ("container", "storage"),
    "access": ("logs-in",),
    "upgrades": ("upgrade", "rolls-back", "deployment", "deploys", "verify-the-release"),
    "boots": ("boots", "no-unit-has-failed"),
}
OTHER = "system"
ORDER = ("installer", "boots", "system", "access", "cloud-init", "containers", "upgrades", "packages")


def group_of(criterion: str) -> str:
    """Return what a criterion is about; of one that is not known here: the system."""
    name = criterion.removesuffix(BY_ATOMIC)
    if name == "var-and-container-data-stay":
        return "upgrades"
    return next((group for group, words in GROUPS.items() if any(word in name for word in words)), OTHER)
