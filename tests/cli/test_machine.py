"""doctor, status and man, through the command line; the chart of a build, and the trace that other programs
read.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from imagebuild.cli.main import app
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, step
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError
from imagebuild.report import history as build_history
from tests.cli.quiet import Silent
from tests.data import ROOT

PROGRAM = Path(sys.executable).parent / "imagebuild"
BUDGET = Cost(cores=2, memory=1 << 30)


@dataclass(frozen=True)
class Thing:
    number: int


def make(out: Path, number: int) -> Thing:
    (out / "file").write_text("x")
    return Thing(number)


def fail(out: Path, thing: Thing) -> Thing:
    del out, thing
    raise BuildError("no")


def built(place: Path) -> Store:
    """Build two steps, one of which fails; then one that is there already."""
    store = DirectoryStore(place)
    first = step("first <b>", make, 1)
    with ThreadPoolExecutor(2) as executor:
        graph.build([step("second", fail, first)], store, executor, budget=BUDGET, listener=Silent())
        graph.build([first], store, executor, budget=BUDGET, listener=Silent())
    return store


def run(*argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *argv], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_builds_are_remembered(tmp_path: Path) -> None:
    newest, before = build_history.builds_of(built(tmp_path), 5)
    assert (newest.outcome, newest.steps, newest.spans) == ("nothing to do", 1, ())
    assert before.outcome == "failed: second"
    assert [(each.step, each.state) for each in before.spans] == [("first <b>", "done"), ("second", "failed")]
    assert [name for name, _, _ in build_history.bars(before)] == ["first <b>", "second"]
    assert all(1 <= len(bar) <= build_history.WIDTH + 1 for _, bar, _ in build_history.bars(before))


def test_status(tmp_path: Path, browser: Browser) -> None:
    built(tmp_path / "store")
    finished = run(
        "status",
        "--store",
        tmp_path / "store",
        "--html",
        tmp_path / "status.html",
        "--trace",
        tmp_path / "trace.json",
        COLUMNS="120",
    )
    assert finished.returncode == 0, finished.stderr
    assert "failed: second" in finished.stdout
    assert "█" in finished.stdout
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [each["name"] for each in events if each["ph"] == "X"] == ["first <b>", "second"]
    assert all(each["dur"] >= 0 and each["ts"] > 1e15 for each in events if each["ph"] == "X")
    shown = browser.new_page(viewport={"width": 360, "height": 700})
    shown.goto((tmp_path / "status.html").as_uri())
    assert shown.get_by_text("first <b>").count() == 1
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    shown.close()
    assert run("status", "--store", tmp_path / "nowhere").returncode == 2


RUNNING = """
import sys
from pathlib import Path
from concurrent.futures import ThreadPoolExecutor
from tests.cli import test_machine as t
from imagebuild import steplog
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.store import Store
from imagebuild.engine.steps import step
from imagebuild.tools import command
def say():
    steplog.note("installing the host")
    print("reached", flush=True)
    command.run(["sleep", "60"], quiet=True)
t.say = say
with ThreadPoolExecutor(2) as executor:
    steps = [step("second", t.linger, step("first", t.make, 1))]
    graph.build(steps, DirectoryStore(Path(sys.argv[1])), executor, budget=t.BUDGET, listener=t.Silent())
"""


def say() -> None:
    """Replaced in the child process."""


def linger(out: Path, thing: Thing) -> Thing:
    say()
    return thing


def test_a_build_that_runs_is_said_to_and_one_that_was_killed_when(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", RUNNING, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "reached\n"
    # what runs is written down twice a second at most
    time.sleep(1.5)
    said = run("status", "--store", tmp_path, COLUMNS="150").stdout
    begun = build_history.builds_of(DirectoryStore(tmp_path), 1)[0]
    assert "running: second" in said
    assert "1 of 2" in said
    assert f"running since {begun.begun:%Y-%m-%d %H:%M:%S} UTC (process {child.pid} on " in said
    assert re.search(r"  second, for \d\.\d s: installing the host\n", said)
    assert "not finished" not in said
    assert begun.seconds > 0
    time.sleep(1.5)
    child.kill()
    killed = time.time()
    with child:
        pass
    dead = build_history.builds_of(DirectoryStore(tmp_path), 1)[0]
    assert dead.outcome == f"interrupted at {datetime.fromtimestamp(dead.seen, UTC):%H:%M:%S}"
    # from the last sign of life
    assert killed - 7 < dead.seen <= killed
    assert [(each.step, each.state) for each in dead.spans] == [("first", "done"), ("second", "interrupted")]
    said = run("status", "--store", tmp_path, COLUMNS="150").stdout
    assert "interrupted at" in said
    assert "running" not in said


def test_a_build_that_was_interrupted_knows_when(tmp_path: Path) -> None:
    diary = DirectoryStore(tmp_path).remember({"first": ("kind", "key")})
    diary.begins("first", ("kind", "key"), background=False)
    before = time.time()
    diary.close("interrupted")
    found = build_history.builds_of(DirectoryStore(tmp_path), 1)[0]
    assert before <= found.seen <= time.time()
    assert found.outcome.startswith("interrupted at ")


def test_builds_of_an_older_imagebuild_are_shown_as_before(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "builds" / "20260101T000000.000000000.json").write_text('{"first": ["kind", "key"]}')
    assert build_history.builds_of(store, 1)[0].outcome == "not finished"


def test_doctor_names_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    fine = run("doctor", "--store", tmp_path, COLUMNS="200")
    assert fine.returncode == 0, fine.stdout
    assert "unknown" not in fine.stdout
    for what in (
        "accelerator:",
        "firmware uefi:",
        "populating disks: native",
        "qemu-img:",
        "space:",
        "memory:",
    ):
        assert what in fine.stdout
    # a host without most programs: PATH leads to nothing, and the sbin directories have none of these
    bare = run(
        "doctor",
        "--config",
        ROOT / "configs" / "debian-12.yaml",
        "--store",
        tmp_path,
        PATH=str(tmp_path),
        COLUMNS="200",
    )
    assert bare.returncode == 1
    assert "✗ xorriso: not installed\n    apt-get install xorriso, or dnf install xorriso" in bare.stdout
    assert "Traceback" not in bare.stderr


def test_the_manual_has_every_command(tmp_path: Path) -> None:
    del tmp_path
    finished = run("man")
    assert finished.returncode == 0
    names = [command.name for command in app.registered_commands]
    assert len(names) > 10
    for name in names:
        assert f".SS {(name or 'compose').replace('-', chr(92) + '-')}" in finished.stdout or name is None
    assert "\\-\\-nightly" in finished.stdout
    groff = shutil.which("groff")
    if groff is not None:
        said = subprocess.run(
            [groff, "-man", "-Tascii", "-ww"],
            input=finished.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    assert "imagebuild" in run(_IMAGEBUILD_COMPLETE=f"source_{shell}").stdout.lower()
