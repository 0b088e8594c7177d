"""How often each artifact of a build was booted, and how often it would be if each download were.

    python -m tests.bench.boots [STORE]

What is counted is what the verdicts of the newest build rest on (`boots.json` in their evidence); STORE is
that of `make demo` when none is given. A download whose disk was booted as another artifact, on the same
controller and firmware, would take at least the one boot more that it took before that was looked at.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from imagebuild.smoke import verdict
from imagebuild.smoke.identity import BOOTS
from imagebuild.smoke.saved_boot import LOCKS
from tests.data import ROOT

DEMO = ROOT / "build" / "demo" / "store"


@dataclass(frozen=True)
class Booted:
    """The boots of one artifact under one firmware; `same_as` says whose they are when it has none."""

    artifact: str
    firmware: str
    now: int
    before: int
    same_as: str


def counted(evidence: Path) -> int:
    """Return how many boots an evidence directory tells of, those of other artifacts apart."""
    boots = [boot for file in evidence.rglob(BOOTS) for boot in json.loads(file.read_text())]
    return sum("of" not in boot for boot in boots)


def table(store: Path) -> list[Booted]:
    """Return the boots of the newest build of a store."""
    builds = sorted((store / "builds").glob("*.json")) if store.is_dir() else []
    used = json.loads(builds[-1].read_text()).values() if builds else []
    rows = []
    for kind, key in used:
        out = store / "artifacts" / kind / key / "out"
        if kind.startswith("smoke.") and (out / verdict.FILE).is_file():
            first = verdict.read(out / verdict.FILE)[-1]
            now = counted(out / "evidence")
            before = now + (1 if first.same_as else 0)
            rows.append(Booted(first.artifact, str(first.firmware), now, before, first.same_as))
    return sorted(rows, key=lambda row: (row.artifact, row.firmware))


def show(store: Path) -> None:
    """Print the table, its sums, and what is saved of first boots."""
    rows = table(store)
    if not rows:
        print(f"boots per artifact: not measured ({store} has no finished build: run `make demo` first)")
        return
    print("boots per artifact: now, before")
    for row in rows:
        note = f"  (the same disk as {row.same_as})" if row.same_as else ""
        print(f"  {row.artifact}, {row.firmware}: {row.now}, {row.before}{note}")
    print(f"  all: {sum(row.now for row in rows)}, {sum(row.before for row in rows)}")
    place = store / "saved-boots"
    saved = [path for path in place.iterdir() if path.name != LOCKS] if place.is_dir() else []
    size = sum(file.stat().st_size for directory in saved for file in directory.iterdir())
    print(f"  saved first boots: {len(saved)}, {size / 1e6:.0f} MB")


if __name__ == "__main__":
    show(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO)
