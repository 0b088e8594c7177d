"""Today's trees: no storage-setup unit; podman keeps its images in overlay directories below
/var/lib/containers.
"""

import json

from imagebuild.smoke.storage.profile import Profile, Run

GRAPH_ROOT = "/var/lib/containers/storage"


def problem(run: Run) -> str | None:
    """Return what is wrong; None for driver overlay on the host's own root file system, which must support
    d_type (overlayfs.rst, "Upper and Lower").
    """
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
    return None if sysroot == storage else f"{root} lies on {storage}, not on the root volume {sysroot}"


PROFILE = Profile(name="podman-overlay", problem=problem, root_takes_all=True)
