"""What the store of `make demo` tells: a second build, and how long the live system took."""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.data import ROOT


def live_boot() -> float | None:
    """Compare how long the live system of `make demo` took to its installer with the installed host's way to
    ssh; None when there was none.
    """
    store = ROOT / "build" / "demo" / "store" / "artifacts"
    ratios = []
    for place in sorted(store.glob("smoke.smoke_installation/*/out/evidence")):
        live, host = (
            json.loads((place / name).read_text()) for name in ("installer-phases.json", "phases.json")
        )
        ratios.append(live["installer"] / host["ssh"])
    return max(ratios) if ratios else None


def second_build() -> float | None:
    """Compare a second `imagebuild all` of the demo with what the first took; None when there was no
    first.
    """
    store = ROOT / "build" / "demo" / "store"
    builds = sorted((store / "builds").glob("*.json")) if store.is_dir() else []
    if not builds:
        return None
    used = json.loads(builds[-1].read_text())
    records = [store / "artifacts" / kind / key / "artifact.json" for kind, key in used.values()]
    if not all(record.exists() for record in records):
        return None
    first: float = sum(json.loads(record.read_text())["seconds"] for record in records)
    argv: list[str | Path] = [
        Path(sys.executable).parent / "imagebuild",
        "all",
        "--ref",
        "debian/12/x86_64/atomic-host",
        "--store",
        store,
    ]
    plan = subprocess.run([*argv, "--plan"], check=True, capture_output=True, text=True).stdout
    if any(line.startswith("build ") for line in plan.splitlines()):
        return None  # made by other code: it would be built again, not a second time
    begun = time.monotonic()
    subprocess.run([*argv, "--output", store.parent / "release"], check=True, capture_output=True)
    return (time.monotonic() - begun) / first
