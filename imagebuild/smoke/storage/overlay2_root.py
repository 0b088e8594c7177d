"""Fedora 27 and newer: overlay2 on the root file system, whose volume takes the whole group
(tests/data/fedora/storage.yaml, layouts.f27_on).
"""

from imagebuild.smoke.storage import setup_unit
from imagebuild.smoke.storage.profile import Profile, Run
from imagebuild.smoke.storage.setup_unit import EXTENT

DIRECTORY = "/var/lib/docker"
OVERHEAD = 0.05  # what a file system keeps for itself


def problem(run: Run) -> str | None:
    """Return what is wrong; None for driver overlay2, nothing left in the group, a root file system as large
    as its volume, and docker's images on it.
    """
    if reason := setup_unit.unit_problem(run):
        return reason
    volumes, free = setup_unit.volumes(run)
    if "root" not in volumes:
        return f"the volume group has no root; it has {', '.join(sorted(volumes))}"
    if free >= EXTENT:
        return f"the root volume was not grown: {free} bytes of the volume group are free"
    size = int(run(["findmnt", "-b", "-n", "-o", "SIZE", "/sysroot"]).strip())
    if size < volumes["root"].size * (1 - OVERHEAD):
        return (
            f"the root file system has {size} bytes, but its volume {volumes['root'].size}: it was not"
            " grown with it"
        )
    # asking docker starts it, and that makes its directory
    if reason := setup_unit.driver_problem(run, "overlay2"):
        return reason
    root, (place, _) = setup_unit.mounted_at(run, "/sysroot")[0], setup_unit.mounted_at(run, DIRECTORY)
    return None if root == place else f"{DIRECTORY} lies on {place}, not on the root volume {root}"


PROFILE = Profile(name="overlay2-root", problem=problem, root_takes_all=True)
