"""A build that is killed, or interrupted, in any of its stages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuild.engine import planning
from imagebuild.engine.builds import RUNNING, Diary
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Step, step
from tests.engine.building import run
from tests.engine.sample_steps import Text, calls

KILLED = """
import os, sys, time
from pathlib import Path
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from tests.engine import test_interrupted as t
from imagebuild.engine import graph, steps
from imagebuild.engine.steps import step
from imagebuild.engine.directory import DirectoryStore
from imagebuild.tools import command
stage = sys.argv[2]
def hang(name):
    if name == stage:
        print("reached", flush=True)
        command.run(["sleep", "60"])
t.hang = hang
goal = t.chain()
try:
    t.run(goal, DirectoryStore(Path(sys.argv[1])), ending=command.end_all)
except KeyboardInterrupt:
    os._exit(130)
"""


def hang(name: str) -> None:
    """Replaced in the child process that is to be killed."""


def first(out: Path, text: str) -> Text:
    (out / "text").write_text(text)
    hang("first")
    calls.append("first")
    return Text(out / "text")


def second(out: Path, text: Text) -> Text:
    (out / "text").write_text(text.file.read_text() * 2)
    hang("second")
    calls.append("second")
    return Text(out / "text")


def third(out: Path, text: Text) -> Text:
    (out / "text").write_text(text.file.read_text() * 2)
    hang("third")
    calls.append("third")
    return Text(out / "text")


def chain() -> Step[Text]:
    return step("third", third, step("second", second, step("first", first, "x")))


@pytest.mark.parametrize("stage", ["first", "second", "third"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_killed_in_any_stage_builds_only_what_was_missing(
    tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, stage],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "reached\n"
    sleeping = _children(child.pid)
    child.send_signal(number)
    child.wait(timeout=10)
    child.stdout.close()
    goal = chain()
    assert run(goal, DirectoryStore(tmp_path)).value(goal).file.read_text() == "xxxx"
    stages = ["first", "second", "third"]
    assert calls == stages[stages.index(stage) :]
    assert not [pid for pid in sleeping if _alive(pid)], "a program of the killed build still runs"


def stopped(place: Path, stage: str, number: signal.Signals) -> dict[str, str]:
    """Stop a build in a stage; return the plan while it ran (with "while ") and afterwards."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, place, stage],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "reached\n"
    found = {
        f"while {each.step.name}": each.reason for each in planning.plan([chain()], DirectoryStore(place))
    }
    child.send_signal(number)
    child.wait(timeout=10)
    child.stdout.close()
    # a program that was just being started has the build's locks until it is executed
    deadline = time.monotonic() + 10
    while DirectoryStore(place).builds()[-1].state == RUNNING and time.monotonic() < deadline:
        time.sleep(0.05)
    return found | {each.step.name: each.reason for each in planning.plan([chain()], DirectoryStore(place))}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_plan_beside_a_build_and_after_its_interruption(tmp_path: Path, number: signal.Signals) -> None:
    assert stopped(tmp_path, "second", number) == {
        "while first": "finished",
        "while second": "another imagebuild builds it now",
        "while third": "never finished: a build that runs now has not come to it",
        "first": "finished",
        "second": "never finished: the build before was interrupted",
        "third": "never finished: the build before was interrupted",
    }
    # what was finished once and is not there any more is gone
    for file in (tmp_path / "artifacts").rglob("artifact.json"):
        file.unlink()
    assert planning.plan([chain()], DirectoryStore(tmp_path))[0].reason == "its artifact is gone"


def test_a_diary_that_cannot_be_written_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diary = Diary(tmp_path, {})
    before = sorted(tmp_path.iterdir())
    # full(4): every write fails there

    def write(self: Path, text: str) -> None:
        self.touch()
        with Path("/dev/full").open("w") as stream:
            stream.write(text)

    monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(OSError, match="No space left on device"):
        diary.uses("step", ("kind", "key"))
    assert sorted(tmp_path.iterdir()) == before


def _children(pid: int) -> list[int]:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
        if found:
            return found
        time.sleep(0.05)
    return []


def _alive(pid: int) -> bool:
    time.sleep(0.2)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
