"""Fedora 26: overlay2 on a volume of its own, `docker-root-lv`, xfs, at /var/lib/docker
(tests/data/fedora/storage.yaml, layouts.f26).
"""

from imagebuild.smoke.storage import Run, setup_unit
from imagebuild.smoke.storage.setup_unit import EXTENT

VOLUME = "docker-root-lv"
PLACE = "/var/lib/docker"
SHARE = 0.4  # CONTAINER_ROOT_LV_SIZE=40%FREE


class Overlay2Volume:
    """Driver overlay2; the volume has 40 % of what the group had free, and is mounted where docker keeps its
    images.
    """

    def problem(self, run: Run) -> str:
        """Return what is wrong, as a sentence; empty when the storage is as promised."""
        problem = setup_unit.unit_problem(run)
        if problem:
            return problem
        found, free = setup_unit.volumes(run)
        volume = found.get(VOLUME)
        if volume is None:
            return f"the volume group has no {VOLUME}; it has {', '.join(sorted(found))}"
        wanted = SHARE * (volume.size + free)
        if abs(volume.size - wanted) > EXTENT:
            return f"{VOLUME} has {volume.size} bytes, not 40 % of the {volume.size + free} that were free"
        device, fstype = setup_unit.mounted_at(run, PLACE)
        # device-mapper doubles a hyphen inside a name: /dev/mapper/atomicos-docker--root--lv
        if not device.endswith("-" + VOLUME.replace("-", "--")):
            return f"{PLACE} lies on {device}, not on {VOLUME}"
        if fstype != "xfs":
            return f"{PLACE} is {fstype}, not xfs"
        return setup_unit.driver_problem(run, "overlay2")


PROFILE = Overlay2Volume()
