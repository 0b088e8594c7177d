"""What is told of the criteria without running them: each has a record, which agrees with its function."""

import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from imagebuild.records import IncompleteRecordError, Registry
from imagebuild.smoke.criteria import registry
from imagebuild.smoke.criteria.registry import (
    CRITERIA,
    MODULES,
    at_first_boot,
    firmware_bound,
    names,
    required,
)
from imagebuild.smoke.criterion import INSTALLS, JOURNEYS, Criterion, Group, criterion, record_of, records_in
from tests.data import ROOT

FUNCTIONS = {
    name: function
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name.startswith("test_") and function.__module__ == module.__name__
}
# what can be had without a guest
LIGHT = """
import sys
from imagebuild.smoke.criteria.registry import CRITERIA
assert CRITERIA
print(*sorted({"pytest", "gi", "guestfs"} & set(sys.modules)))
"""


def test_every_criterion_is_registered() -> None:
    files = {file.stem for file in Path(str(registry.__file__)).parent.glob("test_*.py")}
    assert {module.__name__.rpartition(".")[2] for module in MODULES} == files
    assert all(record_of(function) is not None for function in FUNCTIONS.values())
    assert {record.name for module in MODULES for record in records_in(module)} == set(names())
    assert set(CRITERIA) == {*names(), INSTALLS}


def test_the_contract_names_every_criterion() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (words,) = [contract for contract in contracts if "words of the host" in contract["name"]]
    assert set(words["source_modules"]) == {module.__name__ for module in MODULES}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_record_agrees_with_what_its_function_is_given(name: str) -> None:
    record = record_of(FUNCTIONS[name])
    assert record is not None
    given = set(inspect.signature(FUNCTIONS[name]).parameters)
    assert [asked for asked in JOURNEYS if asked in given] == (
        [record.asks] if record.changes_releases else []
    )
    assert record.about.endswith(".")


def test_what_a_verdict_must_have() -> None:
    assert set(required(atomic=False)) == set(names())
    again = set(required(atomic=True)) - set(names())
    assert again == {f"{name}-by-atomic-host" for name in set(names()) - set(at_first_boot())}
    assert set(required(atomic=False, installer=True)) - set(names()) == {INSTALLS}
    assert set(firmware_bound()) == {
        "falls-back",
        "rolls-back-to-where-it-came-from",
        "secure-boot-stays-on",
        "upgrades-to-the-next-release",
    }


def test_the_list_needs_neither_pytest_nor_what_runs_guests() -> None:
    argv = [sys.executable, "-c", LIGHT]
    finished = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.stdout, finished.stderr) == ("\n", "")


def test_a_criterion_that_promises_nothing_is_refused() -> None:
    @criterion(group=Group.BOOTS, about="")
    def test_empty() -> None: ...

    record = record_of(test_empty)
    assert isinstance(record, Criterion)
    with pytest.raises(IncompleteRecordError, match="criterion empty: the field about is empty"):
        Registry("criterion", record)
