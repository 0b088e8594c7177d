"""A site's criteria under pytest: cells like ours, and what goes wrong is told of the one that is wrong."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell
from imagebuild.smoke.attempts import run_once
from imagebuild.smoke.criterion import Asks
from imagebuild.smoke.site.record import SiteCriterion, SiteFile
from imagebuild.smoke.trial import Trial
from tests.data import ROOT
from tests.smoke import trials
from tests.smoke.site.namespaced_guest import needs_root

TESTS = """
import subprocess
import time
from helper import ANSWER
def test_holds(): assert ANSWER == 42
def test_does_not_hold(): assert ANSWER == 43, "the answer is another one"
def test_never_ends(): time.sleep(100)
def test_waits_for_a_program(): subprocess.run(["sleep", "100"], check=True)
"""
BROKEN = "import nothing_of_that_name\ndef test_is_broken(): pass\n"
HELPER = SiteFile.of("helper.py", b"ANSWER = 42\n")


def function(name: str, text: str = TESTS, module: str = "test_ours") -> SiteCriterion:
    return SiteCriterion(
        name=name.replace("_", "-"),
        about="",
        files=(SiteFile.of(f"{module}.py", text.encode()), HELPER),
        module=module,
        function=f"test_{name}",
        seconds=2.0,
    )


def executable(name: str, **more: object) -> SiteCriterion:
    made = SiteCriterion(
        name=name,
        about="",
        files=(SiteFile.of("x", b"#!/bin/sh\n", executable=True),),
        program="x",
        asks=Asks.OWN_BOOT,
    )
    return replace(made, **more)  # type: ignore[arg-type]


SITE = (
    *(function(name) for name in ("holds", "does_not_hold", "never_ends", "waits_for_a_program")),
    function("is_broken", BROKEN, "test_broken"),
    executable("elsewhere", elsewhere="it is for fcos only"),
    executable("for-others", here=False, artifacts=("vagrant",)),
    executable("under-uefi", firmware=(Firmware.UEFI,)),
    executable("needs-ignition", untested="config.ign would have to configure its guest"),
    executable("needs-memory", memory=8 << 30),
)


def asked(tmp_path: Path, trial: Trial) -> Mapping[str, Cell]:
    """Run a trial's own criteria; return the cells by name."""
    evidence = tmp_path / "evidence"
    evidence.mkdir(parents=True)
    own = tuple(site.name for site in trial.promise.terms.site)
    trial = replace(trial, evidence=evidence, scope=replace(trial.scope, criteria=own))
    return {cell.criterion: cell for cell in run_once(tmp_path, trial)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Cell]]:
    place = tmp_path_factory.mktemp("asked")
    return place, asked(place, trials.trial(place, site=SITE))


def test_each_has_its_cell(found: tuple[Path, Mapping[str, Cell]]) -> None:
    place, cells = found
    assert set(cells) == {site.name for site in SITE}
    assert {name: (str(cell.state), cell.reason) for name, cell in cells.items()} == {
        "holds": ("passed", ""),
        "does-not-hold": ("failed", "the answer is another one"),
        "never-ends": ("failed", "it did not end within 2 s"),
        "waits-for-a-program": ("failed", "it did not end within 2 s"),
        "is-broken": (
            "error",
            "its file cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        "elsewhere": ("not applicable", "it is for fcos only"),
        "for-others": ("not applicable", "its record names other artifacts: vagrant"),
        "under-uefi": ("not applicable", "its record names other firmware: uefi"),
        "needs-ignition": ("not tested", "config.ign would have to configure its guest"),
        "needs-memory": ("not tested", "it needs 8192 MiB of memory, and guests have 0 (smoke.memory)"),
    }
    for name in ("is-broken", "elsewhere", "needs-memory"):
        assert (place / "evidence" / cells[name].evidence).stat().st_size


def test_what_is_known_is_asked_again_when_its_files_change(tmp_path: Path) -> None:
    trial = trials.trial(tmp_path, cells=tmp_path / "kept", site=(function("holds"),))
    first, second = asked(tmp_path / "1", trial), asked(tmp_path / "2", trial)
    assert first["holds"].reason == ""
    assert second["holds"].reason.startswith("kept: it passed before")
    changed = replace(trial.promise.terms.site[0], files=(SiteFile.of("test_ours.py", TESTS.encode()),
                      SiteFile.of("helper.py", b"ANSWER = 41\n")))  # fmt: skip
    third = asked(tmp_path / "3", trials.trial(tmp_path, cells=tmp_path / "kept", site=(changed,)))
    assert third["holds"].state is State.FAILED


@needs_root
def test_executables_and_functions_are_given_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_PLUGINS", "tests.smoke.site.stand_in_suite")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    answers = SiteFile.of(
        "x", b'#!/bin/sh\necho "$KOLA_TEST"\n[ "$KOLA_TEST" = ext.mine.a ]\n', executable=True
    )
    listens = "def test_listens(host): assert host.run('cat', '/run/x').status == 0, 'there is no x'\n"
    site = (
        executable("alone", files=(answers,), kola="ext.mine.a"),
        executable("beside", files=(answers,), kola="ext.mine.b", asks=Asks.FIRST_BOOT),
        function("listens", listens, "test_it"),
    )
    cells = asked(tmp_path, trials.trial(tmp_path, site=site))
    assert {name: (str(cell.state), cell.reason) for name, cell in cells.items()} == {
        "listens": ("failed", "there is no x"),
        "beside": ("failed", "it ended with 1: ext.mine.b"),
        "alone": ("passed", ""),
    }
    # the one that may change the host comes last
    assert list(cells) in (["listens", "beside", "alone"], ["beside", "listens", "alone"])
    log = (tmp_path / "evidence" / cells["alone"].evidence).read_text()
    assert "ext.mine.a\n" in log
