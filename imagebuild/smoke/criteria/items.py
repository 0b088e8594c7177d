"""pytest's items as criteria: their records, the names of their cells, which are wanted, and their order."""

from collections.abc import Collection
from pathlib import Path

import pytest

from imagebuild.model import Cell
from imagebuild.smoke.cells import SITE
from imagebuild.smoke.criterion import BY_ATOMIC, JOURNEYS, Asks, Criterion, record_of
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.inapplicable import not_applicable
from imagebuild.smoke.site.materialize import DIRECTORY
from imagebuild.smoke.site.record import SiteCriterion
from imagebuild.smoke.trial import Trial

TRIAL = pytest.StashKey[Trial]()
# the parameter by which executables are handed in, and what runs them
HANDED, EXECUTABLES = "site_criterion", "imagebuild.smoke.site.test_executables"


def site_of(item: pytest.Item) -> SiteCriterion | None:
    """Return what a site tells of its own criterion; None for one of ours."""
    trial = item.config.stash.get(TRIAL, None)
    if trial is None or not isinstance(item, pytest.Function):
        return None
    handed = getattr(item, "callspec", None)
    if handed is not None and isinstance(site := handed.params.get(HANDED), SiteCriterion):
        return site
    here = (module_file(item.path), item.originalname)
    return next((site for site in trial.promise.terms.site if (site.module, site.function) == here), None)


def module_file(path: Path) -> str:
    """Return the module of a site that lies in a file; empty for any other file."""
    return path.stem if path.parent.name == DIRECTORY else ""


def criterion_of(item: pytest.Item) -> Criterion:
    """Return the record of an item. Raises UsageError for a test that has none."""
    site = site_of(item)
    if site is not None:
        return site.criterion
    record = record_of(item.function) if isinstance(item, pytest.Function) else None
    if record is None:
        raise pytest.UsageError(f"{item.nodeid} is not a criterion: there is no @criterion at it")
    return record


def module_of(item: pytest.Item) -> str:
    """Return the module that an item is defined in; of a site's, what runs it, and its digest."""
    site = site_of(item)
    if site is not None:
        return f"{EXECUTABLES}{SITE}{site.digest}"
    return str(item.module.__name__) if isinstance(item, pytest.Function) else ""


def ways_of(trial: Trial) -> list[str]:
    """Return the names of the ways in which the host is told what to do, its own first."""
    record = HOSTS[trial.promise.host_kind]
    return [commands.name for commands in record.ways(atomic=trial.promise.atomic)]


def cell_name(item: pytest.Item) -> str:
    """Return the name of an item's cell: the criterion's, and by which way where it is not the host's own."""
    name, way, older = criterion_of(item).name, _parameter(item, "way"), _parameter(item, "older")
    name = name if older is None else f"{name}-{older}"
    trial = item.config.stash.get(TRIAL, None)
    native = ways_of(trial)[0] if trial is not None else None
    return name if way in (None, native) else f"{name}-by-{way.replace(' ', '-')}"


def _parameter(item: pytest.Item, name: str) -> str | None:
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get(name) if callspec is not None else None
    return None if value is None else str(value)


def is_wanted(trial: Trial, item: pytest.Item) -> bool:
    """Whether an item is in the trial's scope."""
    scope, record = trial.scope, criterion_of(item)
    if scope.criteria:
        return bool({cell_name(item), record.name} & set(scope.criteria)) and (
            cell_name(item) in scope.criteria or record.asks is Asks.SLEPT_JOURNEY
        )
    return scope.known is None or record.boots or (scope.known.other_firmware and record.firmware_bound)


def position(trial: Trial, item: pytest.Item) -> tuple[int, int, int]:
    """Return where in the order an item stands: all of one way's journeys, one after the other, then those of
    the next way; of those from older releases the newest comes first.
    """
    record, ways = criterion_of(item), ways_of(trial)
    if record.last:
        return len(ways), 1, 0
    if record.asks is Asks.OWN_BOOT:
        return len(ways), 0, 0
    if not record.changes_releases:
        # ours first: a site's may leave something behind
        return 0, 0, int(site_of(item) is not None)
    older = [release.name for release in trial.promise.older]
    name = _parameter(item, "older")
    way = ways.index(_parameter(item, "way") or ways[0])
    return way, 1 + JOURNEYS.index(record.asks), older.index(name) if name in older else 0


def without_atomic(trial: Trial, collected: Collection[str]) -> list[Cell]:
    """Return the cells of what was asked for by name, and is tested only on hosts that are upgraded by
    `atomic host`, too.
    """
    missing = [name for name in trial.scope.criteria if name.endswith(BY_ATOMIC) and name not in collected]
    reason = "this host is not upgraded by `atomic host`: the tree has no such command"
    return not_applicable(trial, missing, reason)
