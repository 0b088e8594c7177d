"""What the criteria are given, and how their results become cells of the verdict.

A broken product is a *failure*; a rig that broke is an *error*; a criterion that could not be tested is *not
tested*, with the reason. Only a passed test is ever reported as passed.
"""

import contextlib
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke.cells import CellStore
from imagebuild.smoke.criteria import BY_ATOMIC, JOURNEYS
from imagebuild.smoke.host import Expected, Host, NotApplicableError, NotTestedError, Records
from imagebuild.smoke.hosts import UnavailableError
from imagebuild.smoke.hosts.registry import commands_of
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.own_keys import pull_with_own_keys
from imagebuild.smoke.rig import Boot, Rig, rig_from_json
from imagebuild.smoke.suite import Suite
from imagebuild.tools import temporary
from imagebuild.tools.ssh import Answer

CELLS = pytest.StashKey[list[Cell]]()
RIG = pytest.StashKey[Rig]()
STATE = "imagebuild-state"
LETTERS: dict[str, str] = {
    State.PASSED: ".",
    State.FAILED: "F",
    State.ERROR: "E",
    State.NOT_TESTED: "t",
    State.NOT_APPLICABLE: "a",
    State.FLAKY: "f",
}
MARKERS = (
    "firmware: boots what was deployed; known under one firmware, it is not known under another",
    (
        "boots: is about booting this very artifact under this very firmware; the others are about what is on"
        " its disk"
    ),
    "last: looks at what all the others have left",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the rig from a file: which artifact, which firmware, what is expected."""
    parser.addoption("--rig", type=Path, help="JSON description of the artifact under test")


def pytest_configure(config: pytest.Config) -> None:
    """Read the rig before anything is collected."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[CELLS] = []
    file = config.getoption("--rig")
    if file is not None:
        config.stash[RIG] = rig_from_json(file.read_text())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what changes the host's releases tested in each way the host offers: rpm-ostree and atomic
    host.
    """
    rig = metafunc.config.stash.get(RIG, None)
    if rig is not None and "way" in metafunc.fixturenames:
        metafunc.parametrize(
            "way", [each.name for each in commands_of(rig.host_kind, atomic=rig.atomic)], scope="session"
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose and order: what was asked for, first what looks at the first boot, then the journeys; what is
    known already is not run again.
    """
    rig = config.stash.get(RIG, None)
    if rig is None:
        return
    store = CellStore(rig.cells, rig) if rig.cells is not None else None
    chosen = [item for item in items if _wanted(rig, item)]
    config.stash[CELLS] += _without_atomic(rig, {_criterion(item) for item in chosen})
    # a boot that left nothing to show is no boot that is known
    booted = store is not None and store.knows_boot()
    todo: list[pytest.Item] = []
    for item in sorted(chosen, key=_stage):
        # what looks at everything that happened is only known when nothing new happens
        known = (booted or item.get_closest_marker("boots") is None) and not (
            todo and item.get_closest_marker("last") is not None
        )
        kept = store.find(_criterion(item), _module(item)) if store is not None and known else None
        if kept is not None:
            config.stash[CELLS].append(kept)
        else:
            todo.append(item)
    items[:] = todo
    if store is not None and booted and not todo:
        store.find_boot()


def _wanted(rig: Rig, item: pytest.Item) -> bool:
    if rig.criteria:
        return _criterion(item) in rig.criteria
    if not rig.boot_only or item.get_closest_marker("boots") is not None:
        return True
    return rig.bound_too and item.get_closest_marker("firmware") is not None


def _without_atomic(rig: Rig, collected: Collection[str]) -> list[Cell]:
    """Return the cells of what was asked for by name, and is tested only on hosts that are upgraded by
    `atomic host`, too.
    """
    missing = [name for name in rig.criteria if name.endswith(BY_ATOMIC) and name not in collected]
    reason = "this host is not upgraded by `atomic host`: the tree has no such command"
    for name in missing:
        (rig.evidence / f"{name}.log").write_text(reason + "\n")
    return [
        Cell(
            criterion=name,
            artifact=rig.artifact,
            firmware=rig.firmware,
            state=State.NOT_APPLICABLE,
            reason=reason,
            evidence=f"{name}.log",
            seconds=0.0,
        )
        for name in missing
    ]


def _stage(item: pytest.Item) -> tuple[int, int]:
    """Return where in the order a criterion stands: all of one way's journeys, one after the other, then
    those of the next way.
    """
    names: list[str] = getattr(item, "fixturenames", [])
    rig = item.config.stash[RIG]
    ways = [each.name for each in commands_of(rig.host_kind, atomic=rig.atomic)]
    if item.get_closest_marker("last") is not None:
        return len(ways), 0
    place = next((number for number, name in enumerate(JOURNEYS, start=1) if name in names), 0)
    return (ways.index(_way(item)) if place else 0), place


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> Iterator[Suite]:
    """The artifact's guests."""
    with temporary.directory("suite", secret=True) as work, contextlib.ExitStack() as stack:
        yield Suite(request.config.stash[RIG], work, stack)


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Path:
    """The criterion's own evidence."""
    file = request.config.stash[RIG].evidence / f"{_criterion(request.node)}.log"
    file.touch()
    return file


@pytest.fixture
def boot(suite: Suite) -> Boot:
    """The artifact, booted (or not: `problem` says why not)."""
    return suite.first[1]


@pytest.fixture
def host(suite: Suite, log: Path) -> Iterator[Host]:
    """The host under test, which has answered by ssh, some time after its first boot."""
    found = suite.first[1].host
    if found is None:
        raise NotTestedError("the host did not come up")
    with found.noting(log):
        yield found


@pytest.fixture
def expected(suite: Suite) -> Expected:
    """What was released and what the rig asked for."""
    return suite.first[1].expected


@pytest.fixture
def own_pull(suite: Suite, host: Host, expected: Expected) -> Callable[[], Answer]:
    """What pulls the released commit (its metadata) by the host's own remote, with the keys that came with
    the image.
    """

    def pull() -> Answer:
        releases = suite.releases
        releases.publish(releases.candidate)
        return pull_with_own_keys(host, expected.refspec, releases.url)

    return pull


@pytest.fixture
def other_machine_ids(suite: Suite) -> tuple[str, ...]:
    """The machine-ids of other boots of the same image."""
    if suite.rig.machine_ids:
        return suite.rig.machine_ids
    return (suite.other_machine_id,)


@pytest.fixture(scope="session")
def way(request: pytest.FixtureRequest) -> str:
    """In which way the host is told what to do."""
    return str(request.param)


@pytest.fixture
def journey(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of the host from release to release."""
    yield from _noted(suite.journey(way), log)


@pytest.fixture
def fresh_journey(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of a freshly installed host."""
    yield from _noted(suite.fresh_journey(way), log)


@pytest.fixture
def layering(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of a host that layers a package."""
    yield from _noted(suite.layering(way), log)


@pytest.fixture
def packages(suite: Suite) -> str:
    """The URL of a package repository."""
    return suite.packages


@pytest.fixture
def records(suite: Suite) -> Records:
    """What all boots have written."""
    if suite.first[1].host is None:
        raise NotTestedError("the host did not come up")
    return suite.records()


@pytest.fixture
def first_release(suite: Suite) -> str:
    """Why this is the first release; empty when there is one before it. Raises NotTestedError when nobody
    knows.
    """
    if suite.rig.previous is not None:
        return ""
    if not suite.rig.first_release:
        raise NotTestedError(
            f"the release before is not there: {suite.rig.why_no_previous or 'none was given'}"
        )
    return suite.rig.why_no_previous


def _noted(journey: Journey, log: Path) -> Iterator[Journey]:
    with journey.host.noting(log):
        yield journey


def _criterion(item: pytest.Item) -> str:
    name = getattr(item, "originalname", None) or item.name
    sentence = name.removeprefix("test_").replace("_", "-")
    rig = item.config.stash.get(RIG, None)
    way = _way(item)
    native = commands_of(rig.host_kind)[0].name if rig is not None else ""
    return f"{sentence}-by-{way.replace(' ', '-')}" if way and way != native else sentence


def _way(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get("way", "")) if callspec is not None else ""


def _module(item: pytest.Item) -> str:
    return str(item.module.__name__) if isinstance(item, pytest.Function) else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn each test's outcome into one cell."""
    report = yield
    rig = item.config.stash.get(RIG, None)
    if rig is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
        suite: Suite | None = getattr(item, "funcargs", {}).get("suite")
        cell = _cell(rig, _criterion(item), report, call)
        if suite is not None:
            cell = _with_the_rig(cell, suite)
        if rig.cells is not None:
            cell = CellStore(rig.cells, rig).keep(cell, _module(item))
        item.config.stash[CELLS].append(cell)
        report.user_properties.append((STATE, cell.state))
        if cell.state in (State.FAILED, State.ERROR) and suite is not None:
            suite.screenshot(f"failed-{cell.criterion}")
    return report


def _cell(rig: Rig, criterion: str, report: pytest.TestReport, call: pytest.CallInfo[None]) -> Cell:
    log = rig.evidence / f"{criterion}.log"
    return Cell(
        criterion=criterion,
        artifact=rig.artifact,
        firmware=rig.firmware,
        state=_state(report, call),
        reason=_reason(report, call),
        evidence=log.name if log.exists() and log.stat().st_size else "serial.log",
        seconds=round(report.duration, 1),
    )


def _with_the_rig(cell: Cell, suite: Suite) -> Cell:
    """Return a cell in which what happened to the rig counts: a guest that did not get its processors fails
    for no fault of its own.
    """
    if cell.state is State.FAILED and (starved := suite.starved()):
        cell = replace(cell, state=State.ERROR, reason=f"{starved}; seen meanwhile: {cell.reason}")
    if notes := suite.take_notes():
        cell = replace(cell, reason=f"{cell.reason}; {notes}" if cell.reason else notes)
    return cell


def _state(report: pytest.TestReport, call: pytest.CallInfo[None]) -> State:
    if report.skipped:
        return State.NOT_TESTED
    if report.passed:
        return State.PASSED
    if call.excinfo is not None and call.excinfo.errisinstance(NotTestedError):
        return State.NOT_TESTED
    if call.excinfo is not None and call.excinfo.errisinstance((NotApplicableError, UnavailableError)):
        return State.NOT_APPLICABLE
    # whatever is not an assertion of the criterion is the rig's fault
    return (
        State.FAILED
        if call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
        else State.ERROR
    )


def _reason(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if report.passed or call.excinfo is None:
        return ""
    value: Any = call.excinfo.value
    text = str(getattr(value, "msg", None) or value) or call.excinfo.typename
    # what pytest adds to an assertion's own sentence is for the log
    return text.split("\nassert ")[0].strip()


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Name a cell's own state in the log. pytest knows *failed* only, with a traceback, also for what is not
    applicable or not tested.
    """
    state = dict(report.user_properties).get(STATE) if isinstance(report, pytest.TestReport) else None
    return (str(state), LETTERS.get(str(state), "?"), str(state).upper()) if state is not None else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end why each criterion that did not pass did not, in its own words."""
    told = [cell for cell in config.stash[CELLS] if cell.state is not State.PASSED]
    if told:
        terminalreporter.section("criteria that did not pass")
    for cell in sorted(told, key=lambda each: list(State).index(each.state), reverse=True):
        terminalreporter.line(
            f"{cell.state}: {cell.criterion}:"
            f" {cell.reason.splitlines()[0] if cell.reason else 'no reason is known'}"
        )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write all cells beside the other evidence."""
    rig = session.config.stash.get(RIG, None)
    if rig is not None:
        data = TypeAdapter(list[Cell]).dump_json(session.config.stash[CELLS], indent=1)
        (rig.evidence / "cells.json").write_bytes(data + b"\n")
        if rig.cells is not None and session.items:
            CellStore(rig.cells, rig).keep_boot()
