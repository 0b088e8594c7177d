"""pytest's hooks around the criteria: which are run, in which order, and what is kept of how they ended."""

from collections.abc import Generator
from pathlib import Path

import pytest

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke import verdict
from imagebuild.smoke.cells import CellStore
from imagebuild.smoke.criteria.items import (
    HANDED,
    TRIAL,
    cell_name,
    criterion_of,
    is_wanted,
    module_file,
    module_of,
    position,
    site_of,
    ways_of,
    without_atomic,
)
from imagebuild.smoke.criteria.results import cell_of
from imagebuild.smoke.first_boot import SAVED
from imagebuild.smoke.look import Failure, OnFailure, at_terminal
from imagebuild.smoke.site.asking import limited, not_loaded, refuse
from imagebuild.smoke.suite import Suite
from imagebuild.smoke.trial import Trial, read_trial

pytest_plugins = ("imagebuild.smoke.criteria.fixtures",)
CELLS = pytest.StashKey[list[Cell]]()
ON_FAILURE = pytest.StashKey[OnFailure]()
STATE = "imagebuild-state"
LETTERS: dict[str, str] = {
    State.PASSED: ".",
    State.FAILED: "F",
    State.ERROR: "E",
    State.NOT_TESTED: "t",
    State.NOT_APPLICABLE: "a",
    State.FLAKY: "f",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the trial from a file: which artifact, which firmware, what was promised."""
    parser.addoption("--trial", type=Path, help="JSON description of the artifact under test")


def pytest_configure(config: pytest.Config) -> None:
    """Read the trial before anything is collected."""
    config.stash[CELLS] = []
    file = config.getoption("--trial")
    if file is not None:
        trial = config.stash[TRIAL] = read_trial(file)
        if trial.scope.terminal is not None:
            config.stash[ON_FAILURE] = at_terminal(trial.scope.terminal)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have what changes the host's releases tested in each way the host offers."""
    trial = metafunc.config.stash.get(TRIAL, None)
    if trial is not None and HANDED in metafunc.fixturenames:
        programs = [site for site in trial.promise.terms.site if site.program]
        metafunc.parametrize(HANDED, programs, ids=[site.name for site in programs])
    if trial is not None and "way" in metafunc.fixturenames:
        own = module_file(metafunc.definition.path)
        metafunc.parametrize("way", ways_of(trial)[: 1 if own else None], scope="session")
    if trial is not None and trial.promise.older and "older" in metafunc.fixturenames:
        names = [release.name for release in trial.promise.older]
        metafunc.parametrize("older", names, scope="session", indirect=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose and order: what was asked for, first what looks at the first boot, then the journeys; what is
    known already is not run again.
    """
    trial = config.stash.get(TRIAL, None)
    if trial is None:
        return
    told = [item for item in items if site_of(item) is not None or not module_file(item.path)]
    chosen = [item for item in told if is_wanted(trial, item)]
    chosen.sort(key=lambda item: position(trial, item))
    config.stash[CELLS] += without_atomic(trial, {cell_name(item) for item in chosen})
    items[:] = _without_kept(config, trial, chosen)


def _without_kept(config: pytest.Config, trial: Trial, chosen: list[pytest.Item]) -> list[pytest.Item]:
    """Return what is to be run; the cells of the rest were kept."""
    if trial.scope.cells is None:
        return chosen
    store = CellStore(trial.scope.cells, trial)
    # a boot that left nothing to show is not known
    booted = store.knows_boot()
    todo: list[pytest.Item] = []
    for item in chosen:
        record = criterion_of(item)
        # what looks at everything that happened is only known when nothing new happens
        known = (booted or not record.boots) and not (todo and record.last)
        kept = store.find(cell_name(item), module_of(item)) if known else None
        if kept is not None:
            config.stash[CELLS].append(kept)
        else:
            todo.append(item)
    # the boot that is shown is the one on which it is tested, or was
    if booted and all(criterion_of(item).boots_nothing for item in todo):
        store.find_boot()
    return todo


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a site's file that cannot be loaded be an error of its own criteria, and of no others."""
    report = yield
    trial = collector.config.stash.get(TRIAL, None)
    module = module_file(collector.path) if isinstance(collector, pytest.Module) else ""
    if trial is not None and module and report.failed:
        broken = [site.name for site in trial.promise.terms.site if site.module == module]
        collector.config.stash[CELLS] += not_loaded(trial, broken, report.longreprtext)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask a site's criterion only where its record says so; nothing boots to say that."""
    trial, site = item.config.stash.get(TRIAL, None), site_of(item)
    if trial is not None and site is not None:
        refuse(trial, site)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """End a site's function that does not end. An executable is ended in the guest."""
    trial, site = item.config.stash.get(TRIAL, None), site_of(item)
    if trial is None or site is None or site.program:
        return (yield)
    with limited(site.seconds * max(trial.bench.accelerator.slowness, 1.0)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn each test's outcome into one cell."""
    report = yield
    trial = item.config.stash.get(TRIAL, None)
    if trial is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
        suite: Suite | None = getattr(item, "funcargs", {}).get("suite")
        cell = cell_of(trial, cell_name(item), report, call, suite)
        if trial.scope.cells is not None:
            cell = CellStore(trial.scope.cells, trial).keep(cell, module_of(item))
        item.config.stash[CELLS].append(cell)
        report.user_properties.append((STATE, cell.state))
        if cell.state in (State.FAILED, State.ERROR) and suite is not None:
            _look_at(item.config, cell, suite)
    return report


def _look_at(config: pytest.Config, cell: Cell, suite: Suite) -> None:
    """Keep what the screen shows where a criterion failed, and let a person look who asked for that."""
    suite.screenshot(f"failed-{cell.criterion}")
    on_failure = config.stash.get(ON_FAILURE, None)
    if on_failure is not None:
        on_failure(Failure(criterion=cell.criterion, reason=cell.reason, access=suite.access()))


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Name a cell's own state in the log. pytest knows *failed* only, with a traceback, also for what is not
    applicable or not tested.
    """
    state = dict(report.user_properties).get(STATE) if isinstance(report, pytest.TestReport) else None
    return (str(state), LETTERS.get(str(state), "?"), str(state).upper()) if state is not None else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say at the end why each criterion that did not pass did not, in its own words, and what became of the
    saved first boot.
    """
    trial = config.stash.get(TRIAL, None)
    if trial is not None and (saved := trial.evidence / SAVED).is_file():
        terminalreporter.line(saved.read_text().strip())
    told = [cell for cell in config.stash[CELLS] if cell.state is not State.PASSED]
    if told:
        terminalreporter.section("criteria that did not pass")
    for cell in sorted(told, key=lambda cell: list(State).index(cell.state), reverse=True):
        reason = cell.reason.splitlines()[0] if cell.reason else "no reason is known"
        terminalreporter.line(f"{cell.state}: {cell.criterion}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write all cells beside the other evidence."""
    trial = session.config.stash.get(TRIAL, None)
    if trial is not None:
        cells = session.config.stash[CELLS]
        verdict.write(trial.evidence / "cells.json", cells)
        if trial.scope.cells is not None and session.items:
            CellStore(trial.scope.cells, trial).keep_boot()
