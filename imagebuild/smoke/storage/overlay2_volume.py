"""Fedora 26: overlay2 on a volume of its own, `docker-root-lv`, xfs, at /var/lib/docker
(tests/data/fedora/storage.yaml, layouts.f26).
"""

from imagebuild.smoke.storage import setup_unit
from imagebuild.smoke.storage.profile import Profile, Run
from imagebuild.smoke.storage.setup_unit import EXTENT

VOLUME = "docker-root-lv"
DIRECTORY = "/var/lib/docker"
SHARE = 0.4  # CONTAINER_ROOT_LV_SIZE=40%FREE


def problem(run: Run) -> str | None:
    """Return what is wrong; None for driver overlay2 on a volume that has 40 % of what the group had free,
    and is mounted where docker keeps its images.
    """
    if reason := setup_unit.unit_problem(run):
        return reason
    volumes, free = setup_unit.volumes(run)
    volume = volumes.get(VOLUME)
    if volume is None:
        return f"the volume group has no {VOLUME}; it has {', '.join(sorted(volumes))}"
    wanted = SHARE * (volume.size + free)
    if abs(volume.size - wanted) > EXTENT:
        return f"{VOLUME} has {volume.size} bytes, not 40 % of the {volume.size + free} that were free"
    device, fstype = setup_unit.mounted_at(run, DIRECTORY)
    # device-mapper doubles a hyphen inside a name: /dev/mapper/atomicos-docker--root--lv
    if not device.endswith("-" + VOLUME.replace("-", "--")):
        return f"{DIRECTORY} lies on {device}, not on {VOLUME}"
    if fstype != "xfs":
        return f"{DIRECTORY} is {fstype}, not xfs"
    return setup_unit.driver_problem(run, "overlay2")


PROFILE = Profile(name="overlay2-volume", problem=problem)
