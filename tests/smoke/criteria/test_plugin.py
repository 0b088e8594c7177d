"""How the outcome of a criterion becomes a state: only a passed test is ever reported as passed."""

import json
import subprocess
import sys
from pathlib import Path

from imagebuild.smoke.attempts import FINE, read_cells
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.first_boot import SAVED
from imagebuild.smoke.trial import write_trial
from tests.smoke import trials

DECLARED = "from imagebuild.smoke.criterion import Group, criterion\n"
MARK = "@criterion(group=Group.SYSTEM, about='x')\ndef test_"


def declared(text: str) -> str:
    """Return a module of tests as criteria."""
    return DECLARED + text.replace("\ndef test_", f"\n{MARK}")


CRITERIA = """
import pytest
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError, RigError
def test_good(): pass
def test_product_is_wrong(): assert 1 == 2, "the product is wrong"
def test_rig_broke(): raise RigError("the connection broke")
def test_bug_of_the_test(): {}["nothing"]
def test_not_testable(): raise NotTestedError("no network here")
def test_not_applicable(): raise NotApplicableError("no box")
def test_skipped(): pytest.skip("not on this host")
@pytest.fixture
def broken(): raise RuntimeError("no fixture")
def test_fixture_broke(broken): pass
"""


def test_every_outcome_has_its_state_and_reason(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path)
    write_trial(tmp_path / "trial.json", trial)
    (tmp_path / "test_criteria.py").write_text(declared(CRITERIA))
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "imagebuild.smoke.criteria.plugin",
        "-p",
        "no:cacheprovider",
        "-v",
        "-rN",
        "--color=no",
    ]
    finished = subprocess.run(
        [*argv, "--trial", tmp_path / "trial.json", "test_criteria.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stdout
    cells = {cell.criterion: (str(cell.state), cell.reason) for cell in read_cells(tmp_path)}
    assert cells["good"] == ("passed", "")
    assert cells["product-is-wrong"] == ("failed", "the product is wrong")
    assert cells["rig-broke"] == ("error", "the connection broke")
    assert cells["bug-of-the-test"][0] == "error"
    assert cells["not-applicable"] == ("not applicable", "no box")
    assert cells["not-testable"] == ("not tested", "no network here")
    assert cells["skipped"] == ("not tested", "not on this host")
    assert cells["fixture-broke"][0] == "error"
    assert json.loads((tmp_path / "cells.json").read_text())
    # the log: our own states, and pytest's tracebacks for what is broken only
    said = finished.stdout
    assert "test_criteria.py::test_not_applicable NOT APPLICABLE" in said
    assert "test_criteria.py::test_not_testable NOT TESTED" in said
    assert "test_criteria.py::test_skipped NOT TESTED" in said
    assert "test_criteria.py::test_product_is_wrong FAILED" in said
    assert "test_criteria.py::test_rig_broke ERROR" in said
    assert "test_criteria.py::test_fixture_broke ERROR" in said
    assert "not applicable: not-applicable: no box\n" in said
    assert "not tested: not-testable: no network here\n" in said
    assert "failed: product-is-wrong: the product is wrong\n" in said
    assert "1 failed, 1 passed, 3 errors, 2 not tested, 1 not applicable" in said
    for quiet in (
        "NotApplicableError",
        "NotTestedError",
        "_ test_not_applicable _",
        "_ test_not_testable _",
        "FAILED test_criteria.py::test_not",
    ):
        assert quiet not in said
    assert "_ test_product_is_wrong _" in said
    assert "_ ERROR at call of test_rig_broke _" in said


STARVED = """
import pytest
from types import SimpleNamespace
STATE = SimpleNamespace(starved=None, notes="the first boot hung and was started again by another QEMU")
def take_notes():
    notes, STATE.notes = STATE.notes, ""
    return notes
@pytest.fixture
def suite():
    return SimpleNamespace(
        starved=lambda: STATE.starved, take_notes=take_notes, screenshot=lambda name: None, restored=False
    )
def test_a_quiet(suite): assert 1 == 2, "the unit failed"
def test_b_starved(suite):
    STATE.starved = "the build machine is too busy: x"
    assert 1 == 2, "the unit failed"
def test_c_fine(suite): pass
"""


def test_a_guest_that_is_starved_fails_for_no_fault_of_its_own(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path, cells=tmp_path / "cells")
    write_trial(tmp_path / "trial.json", trial)
    (tmp_path / "test_starved.py").write_text(declared(STARVED))
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "imagebuild.smoke.criteria.plugin",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    subprocess.run(
        [*argv, "--trial", tmp_path / "trial.json", "test_starved.py"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    cells = {cell.criterion: (str(cell.state), cell.reason) for cell in read_cells(tmp_path)}
    assert cells == {
        "a-quiet": ("failed", "the unit failed; the first boot hung and was started again by another QEMU"),
        "b-starved": ("error", "the build machine is too busy: x; seen meanwhile: the unit failed"),
        "c-fine": ("passed", ""),
    }
    # only what failed by itself is remembered, and makes a later pass a flaky one
    assert [file.read_text() for file in (tmp_path / "cells").glob("*/failure")] == [cells["a-quiet"][1]]


RESTORED = """
import pytest
from types import SimpleNamespace
@pytest.fixture
def suite():
    return SimpleNamespace(
        starved=lambda: None, take_notes=lambda: "", screenshot=lambda name: None, access=lambda: None,
        restored=True,
    )
def test_wrong(suite): assert 1 == 2, "the unit failed"
def test_fine(suite): pass
"""


def test_on_a_saved_first_boot_nothing_fails_but_is_tried_again(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path, cells=tmp_path / "cells")
    write_trial(tmp_path / "trial.json", trial)
    (tmp_path / SAVED).write_text("went on from the first boot\n")
    (tmp_path / "test_restored.py").write_text(declared(RESTORED))
    argv: list[str | Path] = [sys.executable, "-m", "pytest", "-p", "imagebuild.smoke.criteria.plugin"]
    finished = subprocess.run(
        [*argv, "-p", "no:cacheprovider", "-q", "--trial", tmp_path / "trial.json", "test_restored.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    cells = {cell.criterion: (str(cell.state), cell.reason) for cell in read_cells(tmp_path)}
    assert cells["fine"] == ("passed", "")
    assert cells["wrong"][0] == "error"
    assert (
        "saved first boot, so it is tried after a boot; seen meanwhile: the unit failed" in cells["wrong"][1]
    )
    # what passes after a boot is no flaky one
    assert not list((tmp_path / "cells").glob("*/failure"))
    assert "went on from the first boot\n" in finished.stdout


BOOTS = """
import json
from imagebuild.smoke.criterion import Group, criterion
@criterion(group=Group.BOOTS, about="x", boots=True)
def test_artifact_boots(suite):
    (suite.trial.evidence / "boots.json").write_text(json.dumps([{"name": "first", "phases": {"ssh": 60}}]))
@criterion(group=Group.SYSTEM, about="x")
def test_other(): pass
"""


def test_when_nothing_is_tested_again_the_boot_is_shown_that_was(tmp_path: Path) -> None:
    cells = tmp_path / "cells"

    def run(name: str) -> set[str]:
        evidence = tmp_path / name
        evidence.mkdir()
        trial = trials.trial(evidence, cells=cells)
        write_trial(tmp_path / "trial.json", trial)
        (tmp_path / "test_criteria.py").write_text(BOOTS)
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "imagebuild.smoke.criteria.plugin",
            "-p",
            "no:cacheprovider",
            "-q",
        ]
        subprocess.run(
            [*argv, "--trial", tmp_path / "trial.json", "test_criteria.py"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert (evidence / "boots.json").is_file()
        return {cell.criterion for cell in read_cells(evidence) if "kept" in cell.reason}

    assert run("first") == set()
    assert run("second") == {"artifact-boots", "other"}
    # cells of a version that kept no boots
    for file in cells.glob("*/boots.json"):
        file.unlink()
    assert run("third") == {"other"}


def test_on_a_host_with_atomic_every_journey_is_gone_twice_one_after_the_other(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path, host_kind="rpm-ostree", atomic=True)
    write_trial(tmp_path / "trial.json", trial)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "imagebuild.smoke.criteria.plugin",
        "-p",
        "no:cacheprovider",
        "-c",
        tmp_path / "pytest.ini",
        "--collect-only",
        "-q",
        "--pyargs",
        "imagebuild.smoke.criteria",
        "--trial",
        tmp_path / "trial.json",
    ]
    listed = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    names = [line.rpartition("::")[2] for line in listed.splitlines() if "::" in line]
    assert names[0] == "test_artifact_boots"
    assert names[-1] == "test_nothing_fatal_was_logged"
    journeys = [name for name in names if "[" in name]
    assert [name.rpartition("[")[2] for name in journeys] == ["rpm-ostree]"] * (len(journeys) // 2) + [
        "atomic host]"
    ] * (len(journeys) // 2)
    # within one way: the first guest's journey, the fresh one's, layering
    native = [name.partition("[")[0] for name in journeys[: len(journeys) // 2]]
    places = [
        native.index(f"test_{name}")
        for name in (
            "upgrades_to_the_next_release",
            "deploys_an_older_release_when_fresh",
            "layers_a_package",
        )
    ]
    assert places == sorted(places)
    assert len(names) == len(criteria.required(atomic=True))


def test_what_only_atomic_hosts_are_asked_is_not_applicable_to_others(tmp_path: Path) -> None:
    name = "upgrades-to-the-next-release-by-atomic-host"
    trial = trials.trial(tmp_path, host_kind="rpm-ostree", criteria=(name,))
    write_trial(tmp_path / "trial.json", trial)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "imagebuild.smoke.criteria.plugin",
        "-p",
        "no:cacheprovider",
        "-c",
        tmp_path / "pytest.ini",
        "-q",
        "--pyargs",
        "imagebuild.smoke.criteria",
        "--trial",
        tmp_path / "trial.json",
    ]
    finished = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode in FINE, finished.stdout
    (cell,) = read_cells(tmp_path)
    assert (cell.criterion, str(cell.state)) == (name, "not applicable")
    assert "no such command" in cell.reason
    assert (tmp_path / cell.evidence).read_text()
