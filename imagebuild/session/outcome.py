"""What is known when a build is over: every cell with its evidence; and the reports that are written of
them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Step
from imagebuild.errors import CriteriaError
from imagebuild.model import Cell, Verdict
from imagebuild.pipeline import Pipeline
from imagebuild.report.junit import write_junit
from imagebuild.report.page import write_page
from imagebuild.smoke import verdict as verdict_file


def cells_of(pipeline: Pipeline, outcome: Outcome) -> list[tuple[Cell, Path]]:
    """Return every cell there is and the directory of its evidence: of verdicts, and of smoke tests that
    failed.
    """
    found: list[tuple[Cell, Path]] = []
    tests: tuple[Step[Any], ...] = (*pipeline.installations, *pipeline.verdicts)
    for one in tests:
        error = outcome.failed.get(one)
        if one in outcome.values and isinstance(outcome.values[one], Verdict):
            verdict: Verdict = outcome.value(one)
            found += [(cell, verdict.evidence) for cell in verdict.cells]
        elif isinstance(error, CriteriaError) and error.evidence is not None:
            found += [
                (cell, error.evidence / "evidence")
                for cell in verdict_file.read(error.evidence / verdict_file.FILE)
            ]
    return found


def write_verdict(file: Path, cells: Sequence[tuple[Cell, Path]]) -> None:
    """Write the matrix as data; `evidence` becomes an absolute path."""
    verdict_file.write(file, [verdict_file.at(cell, place) for cell, place in cells])


def write_reports(place: Path, title: str, verdict: Sequence[tuple[Cell, Path]]) -> None:
    """Write the verdict as data, as JUnit and as a page: also of a build that is not released."""
    write_verdict(place / "verdict.json", verdict)
    write_junit(place / "junit.xml", verdict)
    write_page(place / "report.html", title, verdict)
