"""How long a boot took, phase by phase, as bars."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuild.tools.console import PHASES

FILE = "boots.json"
ORDER = (*[name for name, _ in PHASES], "ssh")


def charts(title: str, evidence: Path) -> list[dict[str, Any]]:
    """Return a chart of each boot that the evidence of a verdict tells of."""
    file = evidence / FILE
    boots = json.loads(file.read_text()) if file.exists() else []
    return [
        _chart(f"{title}: {boot['name']} boot{_note(boot)}", boot["phases"])
        for boot in boots
        if boot["phases"]
    ]


def _note(boot: Mapping[str, Any]) -> str:
    return f" ({boot['note'][:200]})" if boot.get("note") else ""


def _chart(title: str, phases: Mapping[str, float]) -> dict[str, Any]:
    """Return a bar: each phase lasts until the next one begins. `phases` maps a phase to seconds since
    power-on.
    """
    reached = sorted((seconds, name) for name, seconds in phases.items())
    begins = [0.0, *(seconds for seconds, _ in reached[1:])]
    ends = [seconds for seconds, _ in reached[1:]] + [reached[-1][0]]
    # the last one is where the boot ended: it has no length, unless it is the only one
    bars: list[dict[str, Any]] = [
        {"name": name, "seconds": end - begin, "number": ORDER.index(name) if name in ORDER else 0}
        for (_, name), begin, end in zip(reached, begins, ends, strict=True)
        if end > begin
    ]
    total = reached[-1][0] or 1.0
    return {
        "title": title,
        "seconds": reached[-1][0],
        "phases": [bar | {"percent": 100 * bar["seconds"] / total} for bar in bars],
    }
