"""The table of docs/reliability.md: written from what the harness found, never by hand.

tests/data/reliability.json holds a row for each fault: what was found the last time that its whole amount was
tried, on which day, at which commit, from which seed.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from imagebuild import files
from tests.data import DATA, ROOT
from tests.faults.experiments import Experiment
from tests.faults.tally import Tally

FILE, DOCUMENT = DATA / "reliability.json", ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by python -m tests.faults: begin -->", "<!-- end -->"
HEAD = ("fault", "tried", "lost", "wrong", "recovered", "figures", "when", "commit", "seed")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was found of a fault."""

    fault: str
    tried: int
    lost: int
    wrong: int
    recovered: int
    figure: str
    day: str
    commit: str
    seed: int


def _git(*arguments: str) -> str:
    argv: list[str | Path] = ["git", "-C", ROOT, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def row_of(tally: Tally, seed: int) -> Row:
    """Return what was found now, of what is checked out here."""
    described = _git("describe", "--always", "--abbrev=12")
    # the table itself is written between experiments
    if _git("status", "--porcelain", "--", "imagebuild", "tests/faults", "templates", "kickstarts"):
        described += "-dirty"
    return Row(
        fault=tally.fault, tried=tally.tried, lost=tally.lost, wrong=tally.wrong, recovered=tally.recovered,
        figure=tally.figure, day=datetime.now(UTC).strftime("%Y-%m-%d"), commit=described, seed=seed,
    )  # fmt: skip


def read() -> dict[str, Row]:
    """Return the rows by the name of their experiment."""
    return {name: Row(**row) for name, row in json.loads(FILE.read_text()).items()} if FILE.exists() else {}


def keep(name: str, row: Row) -> None:
    """Write down a row, and the document."""
    rows = {**read(), name: row}
    text = json.dumps({key: asdict(rows[key]) for key in sorted(rows)}, indent=1, ensure_ascii=False)
    files.replace(FILE, text + "\n")


def table(experiments: Mapping[str, Experiment], rows: dict[str, Row]) -> str:
    """Return the table: a row for each experiment, also for those that were not run."""
    lines = [list(HEAD), ["---"] * len(HEAD)]
    for name, experiment in experiments.items():
        row = rows.get(name)
        if row is None:
            lines.append([experiment.fault, "not run", *[""] * (len(HEAD) - 2)])
            continue
        counts = [str(count) for count in (row.tried, row.lost, row.wrong, row.recovered)]
        lines.append([row.fault, *counts, row.figure, row.day, row.commit, str(row.seed)])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def with_table(document: str, text: str) -> str:
    """Return a document with another table between its marks."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{text}\n{END}{after}"


def write(experiments: Mapping[str, Experiment]) -> None:
    """Write the table into the document."""
    files.replace(DOCUMENT, with_table(DOCUMENT.read_text(), table(experiments, read())))
