"""The report as one HTML page that needs nothing else but the evidence it links to."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imagebuild.model import Cell
from imagebuild.report import boots
from imagebuild.report.matrix import Column, arrange
from imagebuild.report.templates import template

# characters of a cell's log that the page shows itself
EXCERPT = 4000
PICTURE = ".png"


def write_page(file: Path, title: str, cells: Sequence[tuple[Cell, Path]]) -> None:
    """Write the matrix, the chart of boot phases and every cell with its evidence; links are relative to the
    page.
    """
    matrix = arrange([cell for cell, _ in cells], lambda cell: f"#{_anchor(cell)}")
    artifacts = [_artifact(file.parent, column, cells) for column in matrix.columns]
    text = template("report.html.j2").render(
        title=title,
        matrix=matrix,
        artifacts=artifacts,
        charts=[
            chart for artifact in artifacts for verdict in artifact["verdicts"] for chart in verdict["charts"]
        ],
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _anchor(cell: Cell) -> str:
    digest = hashlib.sha256(f"{cell.artifact} {cell.firmware}".encode()).hexdigest()[:10]
    return f"v{digest}-{cell.criterion}"


def _artifact(base: Path, column: Column, cells: Sequence[tuple[Cell, Path]]) -> dict[str, Any]:
    """Return what the page says of one artifact: a verdict for each firmware."""
    mine = [pair for pair in cells if pair[0].artifact == column.artifact]
    # one that failed and was tested again has evidence in two directories
    places = dict.fromkeys((str(cell.firmware), evidence) for cell, evidence in mine)
    return {
        "name": column.name,
        "file": column.artifact if column.artifact != column.name else "",
        "verdicts": [
            {
                "firmware": firmware,
                "cells": [
                    _details(base, cell, where)
                    for cell, where in mine
                    if (str(cell.firmware), where) == (firmware, evidence)
                ],
                "charts": boots.charts(f"{column.name}, {firmware}", evidence),
                **_files(base, evidence),
            }
            for firmware, evidence in places
        ],
    }


def _files(base: Path, evidence: Path) -> dict[str, list[dict[str, str]]]:
    """Return every file of the evidence, pictures apart."""
    files = [file for file in sorted(evidence.rglob("*")) if file.is_file()] if evidence.is_dir() else []
    links = [(file, {"name": str(file.relative_to(evidence)), "href": _href(base, file)}) for file in files]
    return {
        "files": [link for file, link in links if file.suffix != PICTURE],
        "shots": [link for file, link in links if file.suffix == PICTURE],
    }


def _details(base: Path, cell: Cell, evidence: Path) -> dict[str, Any]:
    log = evidence / cell.evidence
    return {
        "criterion": cell.criterion,
        "state": str(cell.state),
        "reason": cell.reason,
        "seconds": cell.seconds,
        "anchor": _anchor(cell),
        "href": _href(base, log),
        "excerpt": _excerpt(cell, log),
    }


def _excerpt(cell: Cell, log: Path) -> str:
    """Return beginning and end of a cell's own log; nothing of a file that many cells share."""
    if cell.carried or not log.is_file() or not cell.evidence.endswith(f"{cell.criterion}.log"):
        return ""
    text = log.read_bytes().decode("utf-8", "replace")
    shown = text if len(text) <= EXCERPT else f"{text[: EXCERPT // 2]}\n[…]\n{text[-EXCERPT // 2 :]}"
    # consoles write control characters
    return "".join(sign for sign in shown if sign.isprintable() or sign == "\n")


def _href(base: Path, file: Path) -> str:
    return quote(os.path.relpath(file, base))
