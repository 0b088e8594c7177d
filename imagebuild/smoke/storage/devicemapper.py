"""Fedora 25: devicemapper on the thin pool `docker-pool` in the root volume group
(tests/data/fedora/storage.yaml, layouts.f25).
"""

from imagebuild.smoke.storage import setup_unit
from imagebuild.smoke.storage.profile import Profile, Run

POOL = "docker-pool"
MIN_DATA_SIZE = 2 * 1024**3  # container-storage-setup's default


def problem(run: Run) -> str | None:
    """Return what is wrong; None for driver devicemapper on an active thin pool of MIN_DATA_SIZE at least,
    without loopback files.
    """
    if reason := setup_unit.unit_problem(run):
        return reason
    volumes, _ = setup_unit.volumes(run)
    pool = volumes.get(POOL)
    if pool is None:
        return f"the volume group has no thin pool {POOL}; it has {', '.join(sorted(volumes))}"
    # lvs(8), lv_attr: t(hin pool), …, a(ctive), …, t(hin target)
    if pool.attributes[0] != "t" or pool.attributes[4] != "a":
        return f"{POOL} is not an active thin pool: its attributes are {pool.attributes}"
    if pool.size < MIN_DATA_SIZE:
        return (
            f"{POOL} has {pool.size} bytes, less than container-storage-setup's MIN_DATA_SIZE of"
            f" {MIN_DATA_SIZE}"
        )
    return setup_unit.driver_problem(run, "devicemapper", pool=POOL)


PROFILE = Profile(name="devicemapper", problem=problem)
