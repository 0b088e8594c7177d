"""The verdict as one JUnit file."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from imagebuild.kinds import State
from imagebuild.model import Cell


def write_junit(file: Path, cells: Sequence[tuple[Cell, Path]]) -> None:
    """Write all cells, each with the directory of its evidence: a suite per artifact and firmware. Not tested
    and not applicable are *skipped*, with the reason.
    """
    document = JUnitXml("imagebuild")
    for artifact, firmware in dict.fromkeys((cell.artifact, cell.firmware) for cell, _ in cells):
        suite = TestSuite(_plain(f"{artifact} {firmware}"))
        # all at once: one by one junitparser counts what is there again for each
        suite.add_testcases(
            [
                _case(cell, evidence)
                for cell, evidence in cells
                if (cell.artifact, cell.firmware) == (artifact, firmware)
            ]
        )
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no annotation there
    file.parent.mkdir(parents=True, exist_ok=True)
    document.write(str(file), pretty=True)


def _case(cell: Cell, evidence: Path) -> TestCase:
    name = _plain(f"{cell.artifact}.{cell.firmware}")
    case = TestCase(_plain(cell.criterion), classname=name, time=cell.seconds)
    reason = _plain(f"{cell.state}: {cell.reason}")
    if cell.state in (State.FAILED, State.FLAKY):
        case.result = [Failure(reason, str(cell.state))]
    elif cell.state is State.ERROR:
        case.result = [Error(reason, str(cell.state))]
    elif cell.state in (State.NOT_TESTED, State.NOT_APPLICABLE, State.WAIVED):
        case.result = [Skipped(reason, str(cell.state))]
    where = _plain(f"evidence: {evidence / cell.evidence}")
    case.system_out = f"{cell.reason}\n{where}" if cell.reason.isprintable() else where
    return case


def _plain(text: str) -> str:
    """Return a text without what XML 1.0 does not have: control characters, halves of surrogate pairs."""
    return "".join(sign for sign in text if sign.isprintable() or sign == "\n")
