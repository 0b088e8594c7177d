"""Fedora 27 and newer: overlay2 on the root file system, whose volume takes the whole group
(tests/data/fedora/storage.yaml, layouts.f27_on).
"""

from imagebuild.smoke.storage import Run, setup_unit
from imagebuild.smoke.storage.setup_unit import EXTENT

PLACE = "/var/lib/docker"
OVERHEAD = 0.05  # what a file system keeps for itself


class Overlay2Root:
    """Driver overlay2; nothing is left in the group, the root file system is as large as its volume, and
    docker's images are on it.
    """

    def problem(self, run: Run) -> str:
        """Return what is wrong, as a sentence; empty when the storage is as promised."""
        problem = setup_unit.unit_problem(run)
        if problem:
            return problem
        found, free = setup_unit.volumes(run)
        if "root" not in found:
            return f"the volume group has no root; it has {', '.join(sorted(found))}"
        if free >= EXTENT:
            return f"the root volume was not grown: {free} bytes of the volume group are free"
        size = int(run(["findmnt", "-b", "-n", "-o", "SIZE", "/sysroot"]).strip())
        if size < found["root"].size * (1 - OVERHEAD):
            return (
                f"the root file system has {size} bytes, but its volume {found['root'].size}: it was not"
                " grown with it"
            )
        # asking docker starts it, and that makes its directory
        problem = setup_unit.driver_problem(run, "overlay2")
        if problem:
            return problem
        root, (place, _) = setup_unit.mounted_at(run, "/sysroot")[0], setup_unit.mounted_at(run, PLACE)
        return "" if root == place else f"{PLACE} lies on {place}, not on the root volume {root}"


PROFILE = Overlay2Root()
