"""Today's trees: no storage-setup unit; podman keeps its images in overlay directories below
/var/lib/containers.
"""

import json

from imagebuild.smoke.storage import Run

GRAPH_ROOT = "/var/lib/containers/storage"


class PodmanOverlay:
    """Driver overlay, on the host's own root file system, which must support d_type (overlayfs.rst, "Upper
    and Lower").
    """

    def problem(self, run: Run) -> str:
        """Return what is wrong, as a sentence; empty when the storage is as promised."""
        store = json.loads(run(["podman", "info", "--format", "json"])).get("store", {})
        driver, root = store.get("graphDriverName"), store.get("graphRoot")
        status = {key.lower(): str(value).lower() for key, value in store.get("graphStatus", {}).items()}
        if driver != "overlay":
            return f"podman's storage driver is {driver!r}, not 'overlay'"
        if root != GRAPH_ROOT:
            return f"podman keeps its images in {root!r}, not in {GRAPH_ROOT}"
        if status.get("supports d_type") != "true":
            return f"the file system below {root} does not support d_type, which overlay needs"
        sysroot, storage = (
            run(["findmnt", "-n", "-o", "SOURCE", "-T", path]).split("[")[0].strip()
            for path in ("/sysroot", root)
        )
        return "" if sysroot == storage else f"{root} lies on {storage}, not on the root volume {sysroot}"


PROFILE = PodmanOverlay()
