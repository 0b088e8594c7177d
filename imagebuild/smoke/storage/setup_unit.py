"""What the profiles of container-storage-setup have in common: its unit, its volume group, the driver docker
ended up with.
"""

import json
from dataclasses import dataclass

from imagebuild.smoke.storage.profile import Run

UNIT = "docker-storage-setup.service"
MIB = 1024 * 1024
EXTENT = 4 * MIB


@dataclass(frozen=True, kw_only=True)
class ReportedVolume:
    """A logical volume as lvs(8) reports it; `attributes` such as `twi-a-t---`, `size` in bytes."""

    name: str
    attributes: str
    size: int


def unit_problem(run: Run) -> str | None:
    """Return why storage was not set up at boot; None when it was. The unit is a oneshot: a good one is
    dead, not active.
    """
    wanted = ("LoadState", "ConditionResult", "ExecMainStartTimestampMonotonic", "Result", "ExecMainStatus")
    found = dict(
        line.partition("=")[::2]
        for line in run(["systemctl", "show", UNIT, *[f"--property={name}" for name in wanted]]).splitlines()
    )
    if found.get("LoadState") != "loaded":
        return f"{UNIT} is {found.get('LoadState') or 'unknown'}: nothing sets container storage up"
    if found.get("Result") != "success" or found.get("ExecMainStatus") != "0":
        said = run(["journalctl", "-b", "-u", UNIT, "-o", "cat", "--no-pager"]).strip().splitlines()
        reason = next((line for line in said if "ERROR" in line), said[-1] if said else "it said nothing")
        return f"{UNIT} has failed ({found.get('Result')}): {reason}"
    if found.get("ExecMainStartTimestampMonotonic") in ("0", "", None):
        why = "its condition did not hold" if found.get("ConditionResult") == "no" else "nothing started it"
        return f"{UNIT} did not run: {why}"
    return None


def driver_problem(run: Run, driver: str, *, pool: str = "") -> str | None:
    """Return what is wrong with docker's storage driver (docker info); None when it is `driver` (on the thin
    pool `pool`).
    """
    info = json.loads(run(["docker", "info", "--format", "{{json .}}"]))
    if info.get("Driver") != driver:
        return f"docker's storage driver is {info.get('Driver')!r}, not {driver!r}"
    status = {str(name).lower(): str(value) for name, value in info.get("DriverStatus") or []}
    if "data loop file" in status:
        return (
            f"docker keeps its data in the loopback file {status['data loop file']}: storage setup did not"
            " run before it"
        )
    # device-mapper doubles a hyphen inside of a name
    if pool and not status.get("pool name", "").endswith("-" + pool.replace("-", "--")):
        return f"docker keeps its data in the pool {status.get('pool name', '(none)')!r}, not in {pool}"
    if driver == "overlay2" and status.get("supports d_type", "true").lower() != "true":
        return "the file system below /var/lib/docker does not support d_type, which overlay2 needs"
    return None


def volumes(run: Run) -> tuple[dict[str, ReportedVolume], int]:
    """Return the volumes of the group that / is on, by name, and the group's free bytes (lvs(8), vgs(8))."""
    source = run(["findmnt", "-n", "-o", "SOURCE", "/sysroot"]).split("[")[0].strip()
    group = run(["lvs", "--noheadings", "-o", "vg_name", source]).strip()
    report = ["--reportformat", "json", "--units", "b", "--nosuffix"]
    rows = json.loads(run(["lvs", *report, "-o", "lv_name,lv_attr,lv_size", group]))["report"][0]["lv"]
    free = json.loads(run(["vgs", *report, "-o", "vg_free", group]))["report"][0]["vg"][0]["vg_free"]
    found = [
        ReportedVolume(name=row["lv_name"], attributes=row["lv_attr"], size=int(float(row["lv_size"])))
        for row in rows
    ]
    return {each.name: each for each in found}, int(float(free))


def mounted_at(run: Run, path: str) -> tuple[str, str]:
    """Return (device, file system) of what a path lies on."""
    words = run(["findmnt", "-n", "-o", "SOURCE,FSTYPE", "-T", path]).split()
    return (words[0].split("[")[0], words[1]) if len(words) > 1 else ("", "")
