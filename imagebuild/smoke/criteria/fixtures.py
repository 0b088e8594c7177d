"""What the criteria are given: the host under test, what is expected of it, and its journeys."""

import contextlib
import pprint
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuild.smoke.criteria.items import TRIAL, cell_name, criterion_of
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.host.expected import Expected, Records
from imagebuild.smoke.host.services import ServedFacts
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.own_keys import pull_with_own_keys
from imagebuild.smoke.served_guest import EVIDENCE
from imagebuild.smoke.stops import ReadAgain
from imagebuild.smoke.suite import NOT_BOOTED, Suite
from imagebuild.tools import temporary
from imagebuild.tools.ssh import Answer


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> Iterator[Suite]:
    """The artifact's guests."""
    with temporary.directory("suite", secret=True) as work, contextlib.ExitStack() as stack:
        asked = [criterion_of(item) for item in request.session.items]
        boots_nothing = all(record.boots_nothing for record in asked)
        yield Suite(request.config.stash[TRIAL], work, stack, boots_nothing=boots_nothing)


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Path:
    """The criterion's own evidence."""
    file = request.config.stash[TRIAL].evidence / f"{cell_name(request.node)}.log"
    file.touch()
    return file


@pytest.fixture
def boot(suite: Suite) -> Boot:
    """The artifact, booted (or not: `problem` says why not)."""
    return suite.first[1]


@pytest.fixture
def host(suite: Suite, log: Path) -> Iterator[Host]:
    """The host under test, which has answered by ssh, some time after its first boot."""
    first = suite.first[1].host
    if first is None:
        raise NotTestedError("the host did not come up")
    with first.noting(log):
        if suite.restored:
            first.note(f"# {NOT_BOOTED} (saved-boot.txt)")
        yield first


@pytest.fixture
def expected(suite: Suite) -> Expected:
    """What was promised, and what the test asked for."""
    return suite.first[1].expected


@pytest.fixture
def own_pull(suite: Suite, host: Host, expected: Expected) -> Callable[[], Answer]:
    """What pulls the released commit (its metadata) by the host's own remote, with the keys that came with
    the image.
    """

    def pull() -> Answer:
        releases = suite.releases
        releases.publish(releases.candidate)
        return pull_with_own_keys(host, expected.promise.refspec, releases.url)

    return pull


@pytest.fixture
def read_changed(suite: Suite, host: Host) -> Callable[[str, str], ReadAgain]:
    """What boots a copy of the host's disk on which an object (its checksum) was changed, and reads the file
    (its path) that has it.
    """
    del host  # the copy is made of a host that has answered
    return suite.read_changed


@pytest.fixture
def other_machine_ids(suite: Suite) -> tuple[str, ...]:
    """The machine-ids of other boots of the same image."""
    return suite.trial.scope.machine_ids or (suite.other_machine_id,)


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


@pytest.fixture(scope="session")
def older(request: pytest.FixtureRequest) -> str | None:
    """The name of a release that a host has slept since; None when there is none."""
    return getattr(request, "param", None)


@pytest.fixture
def slept_journey(suite: Suite, way: str, older: str | None, log: Path) -> Iterator[Journey]:
    """The journey of a host that has slept since that release. Raises NotApplicableError without one."""
    if older is None:
        raise NotApplicableError("hosts come from no release but the one before (`previous` names no other)")
    yield from _noted(suite.slept_journey(way, older), log)


@pytest.fixture
def line_journey(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of a host of the release line before. Raises NotApplicableError when there is none."""
    promise = suite.trial.promise
    if promise.line is None:
        raise NotApplicableError(promise.terms.why_no_line or "no release line before was given")
    yield from _noted(suite.line_journey(way), log)


@pytest.fixture
def soft_journey(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of a host that is rebooted softly. Raises NotApplicableError when it cannot be."""
    yield from _noted(suite.soft_journey(way), log)


@pytest.fixture
def layering(suite: Suite, way: str, log: Path) -> Iterator[Journey]:
    """The journey of a host that layers a package."""
    yield from _noted(suite.layering(way), log)


def _noted(journey: Journey, log: Path) -> Iterator[Journey]:
    with journey.host.noting(log):
        yield journey


@pytest.fixture
def served(suite: Suite, log: Path) -> ServedFacts:
    """What the host made of a network with servers of names and time."""
    facts = suite.served
    log.write_text(f"{pprint.pformat(facts)}\nwhat was said there: {EVIDENCE}/\n")
    return facts


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
def first_release(suite: Suite) -> str | None:
    """Why this is the first release; None when there is one before it. Raises NotTestedError when nobody
    knows.
    """
    promise = suite.trial.promise
    if promise.previous is not None:
        return None
    why = promise.terms.why_no_previous or "none was given"
    if not promise.terms.first_release:
        raise NotTestedError(f"the release before is not there: {why}")
    return why
