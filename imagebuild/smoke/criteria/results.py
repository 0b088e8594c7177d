"""How a criterion's test ended, as a cell of the verdict.

A broken product is a *failure*; a rig that broke is an *error*; a criterion that could not be tested is *not
tested*, with the reason. Only a passed test is ever reported as passed.
"""

from dataclasses import replace
from typing import Any

import pytest

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.hosts.commands import UnavailableError
from imagebuild.smoke.suite import NOT_BOOTED, Suite
from imagebuild.smoke.trial import Trial


def cell_of(
    trial: Trial, name: str, report: pytest.TestReport, call: pytest.CallInfo[None], suite: Suite | None
) -> Cell:
    """Return the cell of a test that has ended."""
    log = trial.evidence / f"{name}.log"
    cell = Cell(
        criterion=name,
        artifact=trial.subject.artifact,
        firmware=trial.bench.firmware,
        state=_state(report, call),
        reason=_reason(report, call),
        evidence=log.name if log.exists() and log.stat().st_size else "serial.log",
        seconds=round(report.duration, 1),
    )
    return _with_the_rig(cell, suite) if suite is not None else cell


def _with_the_rig(cell: Cell, suite: Suite) -> Cell:
    """Return a cell in which what happened to the rig counts: a guest that did not get its processors fails
    for no fault of its own.
    """
    if cell.state is State.FAILED and suite.restored:
        reason = f"{NOT_BOOTED}, so it is tried after a boot; seen meanwhile: {cell.reason}"
        cell = replace(cell, state=State.ERROR, reason=reason)
    if cell.state is State.FAILED and (starved := suite.starved()):
        cell = replace(cell, state=State.ERROR, reason=f"{starved}; seen meanwhile: {cell.reason}")
    if notes := suite.take_notes():
        cell = replace(cell, reason=f"{cell.reason}; {notes}" if cell.reason else notes)
    return cell


def _state(report: pytest.TestReport, call: pytest.CallInfo[None]) -> State:
    if report.passed:
        return State.PASSED
    if report.skipped or call.excinfo is None:
        return State.NOT_TESTED if report.skipped else State.ERROR
    if call.excinfo.errisinstance(NotTestedError):
        return State.NOT_TESTED
    if call.excinfo.errisinstance((NotApplicableError, UnavailableError)):
        return State.NOT_APPLICABLE
    # whatever is not an assertion of the criterion is the rig's fault
    return State.FAILED if call.excinfo.errisinstance(AssertionError) else State.ERROR


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.passed or call.excinfo is None:
        return ""
    value: Any = call.excinfo.value
    text = str(getattr(value, "msg", None) or value) or call.excinfo.typename
    # what pytest adds to an assertion's own sentence is for the log
    return text.split("\nassert ")[0].strip()
