"""What the criteria are given, and how their results become cells of the verdict.

A broken product is a *failure*; a rig that broke is an *error*; a criterion that could not be tested is *not tested*, with
the reason. Only a passed test is ever reported as passed.
"""

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuild.guest import Boot, Expected, Host, NotApplicableError, NotTestedError, Rig, booted, rig_from_json

CELLS = pytest.StashKey[list[dict[str, object]]]()
RIG = pytest.StashKey[Rig]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the rig from a file: which artifact, which firmware, what is expected."""
    parser.addoption("--rig", type=Path, help="JSON description of the artifact under test")


def pytest_configure(config: pytest.Config) -> None:
    """Read the rig before anything is collected."""
    config.stash[CELLS] = []
    file = config.getoption("--rig")
    if file is not None:
        config.stash[RIG] = rig_from_json(file.read_text())


@pytest.fixture(scope="session")
def boot(request: pytest.FixtureRequest) -> Iterator[Boot]:
    """The artifact, booted (or not: `problem` says why not)."""
    with booted(request.config.stash[RIG]) as found:
        yield found


@pytest.fixture
def host(boot: Boot, request: pytest.FixtureRequest) -> Host:
    """The host under test, which has answered by ssh."""
    if boot.host is None:
        pytest.skip("the host did not come up")
    rig = request.config.stash[RIG]
    boot.host.evidence = rig.evidence / f"{_criterion(request.node)}.log"
    boot.host.evidence.touch()
    return boot.host


@pytest.fixture
def expected(boot: Boot) -> Expected:
    """What was released and what the rig asked for."""
    return boot.expected


def _criterion(item: pytest.Item) -> str:
    return item.name.removeprefix("test_").replace("_", "-")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn each test's outcome into one cell."""
    report = yield
    rig = item.config.stash.get(RIG, None)
    if rig is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
        name = _criterion(item)
        log = rig.evidence / f"{name}.log"
        item.config.stash[CELLS].append(
            {
                "criterion": name,
                "artifact": rig.artifact,
                "firmware": str(rig.firmware),
                "state": _state(report, call),
                "reason": _reason(report, call),
                "evidence": log.name if log.exists() else "serial.log",
                "seconds": round(report.duration, 1),
            }
        )
    return report


def _state(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.skipped:
        return "not tested"
    if report.passed:
        return "passed"
    if call.excinfo is not None and call.excinfo.errisinstance(NotTestedError):
        return "not tested"
    if call.excinfo is not None and call.excinfo.errisinstance(NotApplicableError):
        return "not applicable"
    # whatever is not an assertion of the criterion is the rig's fault
    return "failed" if report.when == "call" and call.excinfo is not None and call.excinfo.errisinstance(AssertionError) else "error"


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.passed or call.excinfo is None:
        return ""
    value: Any = call.excinfo.value
    text = str(getattr(value, "msg", None) or value) or call.excinfo.typename
    # what pytest adds to an assertion's own sentence is for the log
    return text.split("\nassert ")[0].strip()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write all cells beside the other evidence."""
    rig = session.config.stash.get(RIG, None)
    if rig is not None:
        (rig.evidence / "cells.json").write_text(json.dumps(session.config.stash[CELLS], indent=1) + "\n")
