"""The report as one HTML page that needs nothing else (but the evidence it links to), and as one JUnit
file.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from imagebuild.config.places import shared_directory
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.tools.console import PHASES

Found = tuple[Cell, Path]
# characters of a cell's log that the page shows itself
EXCERPT = 4000
ORDER = (*[name for name, _ in PHASES], "ssh")


def write_page(file: Path, title: str, cells: Sequence[Found]) -> None:
    """Write the matrix, the chart of boot phases and every cell with its evidence; links are relative to the
    page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shared_directory("templates")),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["css"] = lambda state: str(state).replace(" ", "-")
    verdicts = _verdicts(file.parent, cells)
    criteria = dict.fromkeys(cell.criterion for cell, _ in cells)
    rows = [
        {
            "criterion": name,
            "cells": [
                next((each for each in one["cells"] if each["criterion"] == name), None) for one in verdicts
            ],
        }
        for name in criteria
    ]
    counts = Counter(cell.state for cell, _ in cells)
    text = environment.get_template("report.html.j2").render(
        title=title,
        verdicts=verdicts,
        rows=rows,
        counts=[(state, counts[state]) for state in State if counts[state]],
        charts=[chart for one in verdicts for chart in one["charts"]],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _verdicts(base: Path, cells: Sequence[Found]) -> list[dict[str, Any]]:
    found = []
    for artifact, firmware, place in dict.fromkeys(
        (cell.artifact, cell.firmware, place) for cell, place in cells
    ):
        mine = [
            cell
            for cell, where in cells
            if (cell.artifact, cell.firmware, where) == (artifact, firmware, place)
        ]
        files = [one for one in sorted(place.rglob("*")) if one.is_file()] if place.is_dir() else []
        anchor = "v" + hashlib.sha256(f"{artifact} {firmware}".encode()).hexdigest()[:10]
        found.append(
            {
                "artifact": artifact,
                "firmware": str(firmware),
                "anchor": anchor,
                "cells": [_cell(base, cell, place, anchor) for cell in mine],
                "charts": _charts(f"{artifact}, {firmware}", place),
                "files": [
                    {"name": str(one.relative_to(place)), "href": _href(base, one)}
                    for one in files
                    if one.suffix != ".png"
                ],
                "shots": [
                    {"name": str(one.relative_to(place)), "href": _href(base, one)}
                    for one in files
                    if one.suffix == ".png"
                ],
            }
        )
    return found


def _cell(base: Path, cell: Cell, place: Path, anchor: str) -> dict[str, Any]:
    log = place / cell.evidence
    text = (
        log.read_bytes().decode("utf-8", "replace")
        if log.is_file() and not cell.carried and cell.evidence.endswith(f"{cell.criterion}.log")
        else ""
    )
    shown = text if len(text) <= EXCERPT else f"{text[: EXCERPT // 2]}\n[…]\n{text[-EXCERPT // 2 :]}"
    return {
        "criterion": cell.criterion,
        "state": str(cell.state),
        "reason": cell.reason,
        "seconds": cell.seconds,
        "carried": cell.carried,
        "anchor": f"{anchor}-{cell.criterion}",
        "href": _href(base, log),
        "name": cell.evidence,
        # control characters of consoles are no text
        "excerpt": "".join(each for each in shown if each.isprintable() or each == "\n"),
    }


def _href(base: Path, file: Path) -> str:
    return quote(os.path.relpath(file, base))


def _charts(title: str, place: Path) -> list[dict[str, Any]]:
    file = place / "boots.json"
    boots = json.loads(file.read_text()) if file.exists() else []
    return [
        _chart(f"{title}: {each['name']} boot{_note(each)}", each["phases"])
        for each in boots
        if each["phases"]
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
    # the last one is where the boot ended: it has no length of its own, unless it is the only one
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


def write_junit(file: Path, cells: Sequence[Found]) -> None:
    """Write all cells as one JUnit file: a suite per artifact and firmware. Not tested and not applicable are
    *skipped*, with the reason.
    """
    document = JUnitXml("imagebuild")
    for artifact, firmware in dict.fromkeys((cell.artifact, cell.firmware) for cell, _ in cells):
        suite = TestSuite(f"{artifact} {firmware}")
        for cell, place in cells:
            if (cell.artifact, cell.firmware) == (artifact, firmware):
                suite.add_testcase(_case(cell, place))
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no annotation there
    file.parent.mkdir(parents=True, exist_ok=True)
    document.write(str(file), pretty=True)


def _case(cell: Cell, place: Path) -> TestCase:
    case = TestCase(cell.criterion, classname=f"{cell.artifact}.{cell.firmware}", time=cell.seconds)
    # XML 1.0 has no control characters
    reason = "".join(each for each in f"{cell.state}: {cell.reason}" if each.isprintable() or each == "\n")
    if cell.state in (State.FAILED, State.FLAKY):
        case.result = [Failure(reason, str(cell.state))]
    elif cell.state is State.ERROR:
        case.result = [Error(reason, str(cell.state))]
    elif cell.state in (State.NOT_TESTED, State.NOT_APPLICABLE, State.WAIVED):
        case.result = [Skipped(reason, str(cell.state))]
    case.system_out = (
        f"{cell.reason}\nevidence: {place / cell.evidence}"
        if cell.reason.isprintable()
        else f"evidence: {place / cell.evidence}"
    )
    return case
