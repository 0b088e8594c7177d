"""The profiles of container storage by name: a new one is a module and a line here."""

from imagebuild.records import Registry
from imagebuild.smoke.storage import devicemapper, overlay2_root, overlay2_volume, podman_overlay
from imagebuild.smoke.storage.profile import Profile

PROFILES: Registry[Profile] = Registry(
    "storage profile",
    podman_overlay.PROFILE,
    overlay2_volume.PROFILE,
    overlay2_root.PROFILE,
    devicemapper.PROFILE,
)


def names() -> tuple[str, ...]:
    """Return the names that a configuration may give."""
    return tuple(PROFILES)
