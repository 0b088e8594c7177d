"""The table of what is asked of which kind of host says what the criteria themselves do."""

from typing import Any

import pytest

from imagebuild.kinds import Firmware, Login
from imagebuild.session.criteria import kinds_of_hosts
from imagebuild.smoke.criteria import test_secure_boot
from imagebuild.smoke.criteria.registry import CRITERIA
from imagebuild.smoke.criterion import EVERY_HOST, Trait
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.kinds_of_hosts import ALWAYS, KINDS, NEVER, answer, needed
from tests.smoke.criteria.broken.root import ASKED, CONF, VERITY
from tests.smoke.criteria.cases import Answers
from tests.smoke.criteria.tables import ON_HOST
from tests.smoke.healthy_host import HEALTHY_BOX, broken_host
from tests.smoke.trials import EXPECTED, expected

READ_ONLY: Answers = {**ASKED}
# a host of each kind, as far as a criterion that looks at a settled host can tell
HOSTS: dict[str, tuple[Answers, Any]] = {
    "writable /sysroot": ({}, EXPECTED),
    "read-only /sysroot": (READ_ONLY, EXPECTED),
    "composefs `yes`": ({**ASKED, CONF: "[composefs]\nenabled=yes\n"}, EXPECTED),
    "composefs `verity`, `signed`": ({**VERITY}, EXPECTED),
    "`bios`, `uefi`": ({}, expected(firmware=Firmware.UEFI)),
    "`uefi-secure`": ({}, expected(firmware=Firmware.UEFI_SECURE)),
    "cloud image": ({}, EXPECTED),
    "Vagrant box": ({**HEALTHY_BOX}, expected(login=Login.VAGRANT, user="vagrant")),
    "installation": ({}, expected(grown=0)),
}
# those whose table of broken hosts is of one firmware are run themselves
RUN = {"secure-boot-is-on": test_secure_boot.test_secure_boot_is_on}
CELLS = [
    (name, kind.name, answer(CRITERIA[name], kind))
    for name in ON_HOST
    if CRITERIA[name].needs
    for kind in KINDS
    if kind.name in HOSTS
]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind, said in CELLS if said == NEVER])
def test_what_is_never_asked_says_that_it_does_not_apply(name: str, kind: str) -> None:
    answers, promised = HOSTS[kind]
    with pytest.raises(NotApplicableError):
        RUN.get(name, ON_HOST[name].run)(broken_host({**answers}), promised)


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind, said in CELLS if said == ALWAYS])
def test_what_is_always_asked_is_asked(name: str, kind: str) -> None:
    answers, promised = HOSTS[kind]
    RUN.get(name, ON_HOST[name].run)(broken_host({**answers}), promised)


def test_there_are_cells_of_both_sorts() -> None:
    found = {(name, said) for name, _, said in CELLS}
    assert {("a-changed-object-is-not-read", NEVER), ("a-changed-object-is-not-read", ALWAYS)} <= found
    assert {("secure-boot-is-on", NEVER), ("secure-boot-is-on", ALWAYS)} <= found


@pytest.mark.parametrize("name", CRITERIA)
def test_what_a_criterion_needs_agrees_with_what_is_told_of_it(name: str) -> None:
    record = CRITERIA[name]
    assert bool(record.needs) == (record.applies_to != EVERY_HOST), record.applies_to
    assert bool(needed(record)) == bool(record.needs)


def test_every_trait_is_needed_by_something() -> None:
    assert {trait for record in CRITERIA.values() for trait in record.needs} == set(Trait)
    assert all(not kind.has & kind.lacks for kind in KINDS)


def test_the_table_has_a_row_for_each_that_is_not_asked_everywhere() -> None:
    head, *rows = kinds_of_hosts()
    assert {row[0] for row in rows} == {name for name, record in CRITERIA.items() if record.needs}
    assert {len(row) for row in rows} == {len(head)}
