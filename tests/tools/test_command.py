"""Programs: how they die is told apart, and none outlives us."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from imagebuild import steplog
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools import command, process, programs
from imagebuild.tools.command import CommandError


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_ended", threading.Event())


def test_output_is_returned_and_logged(tmp_path: Path) -> None:
    with steplog.writing_to(tmp_path / "log"):
        assert command.run(["sh", "-c", "echo out; echo err >&2"]) == "out\n"
    log = (tmp_path / "log").read_text()
    assert "$ sh -c 'echo out; echo err >&2'" in log
    assert "out\n" in log
    assert "err\n" in log


def test_the_locale_is_c_and_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    assert command.run(["sh", "-c", "echo $LC_ALL $LANG ${LC_MESSAGES-unset}"]) == "C.UTF-8 C.UTF-8 unset\n"


def test_a_failure_has_argv_status_and_last_lines() -> None:
    with pytest.raises(CommandError, match=r"(?s)sh -c .* failed with exit status 3:.*bad thing") as caught:
        command.run(["sh", "-c", "echo bad thing >&2; exit 3"])
    assert caught.value.returncode == 3


def test_a_killed_program_is_told_apart() -> None:
    with pytest.raises(CommandError, match="was killed by SIGKILL"):
        command.run(["sh", "-c", "kill -KILL $$"])


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: "/nowhere")
    with pytest.raises(MissingToolError, match="the program mmdebstrap is not installed") as caught:
        command.require("mmdebstrap")
    assert "apt-get install mmdebstrap" in caught.value.hint


def test_a_program_that_takes_too_long_is_ended() -> None:
    begun = time.monotonic()
    with pytest.raises(CommandError, match="did not end within"):
        command.run(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - begun < 5


def test_input_goes_in() -> None:
    assert command.run(["cat"], stdin=b"x" * 1_000_000) == "x" * 1_000_000


def test_everything_ends_at_once_even_what_ignores_the_signal(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    errors: list[BuildError] = []

    def stubborn() -> None:
        try:
            command.run(
                ["sh", "-c", f"trap '' TERM; (trap '' TERM; sleep 60) & touch {ready}; wait; sleep 60"]
            )
        except BuildError as error:
            errors.append(error)

    thread = threading.Thread(target=stubborn)
    thread.start()
    while not ready.exists():
        time.sleep(0.02)
    begun = time.monotonic()
    command.end_all(grace=0.5)
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert time.monotonic() - begun < 5
    assert "interrupt" in errors[0].message
    with pytest.raises(BuildError, match="interrupted"):
        command.run(["true"])


def test_work_that_is_no_program_is_cancelled_too() -> None:
    cancelled = threading.Event()
    with command.cancelling(cancelled.set):
        command.end_all(grace=0)
    assert cancelled.is_set()


ENDING = """
import threading, time
from imagebuild.tools import command
asked, begun = threading.Event(), threading.Event()
def work():
    with command.cancelling(asked.set):
        begun.set()
        asked.wait()
        time.sleep({seconds})
        print("tidied up", flush=True)
threading.Thread(target=work, daemon=True).start()
begun.wait()
command.end_all(grace=1.5)
"""


@pytest.mark.parametrize(("seconds", "said"), [("0.5", "tidied up\n"), ("60", "")])
def test_the_end_waits_for_what_is_cancelled_but_not_for_ever(seconds: str, said: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", ENDING.format(seconds=seconds)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert finished.stdout == said


PATIENT = """
import os, signal, subprocess, sys, time
heard = []
def hear(number, frame):
    heard.append(number)
signal.signal(signal.SIGINT, hear)
signal.signal(signal.SIGTERM, hear)
helper = subprocess.Popen(["sleep", "{helper}"])
open("{place}/ready", "w").close()
while not heard:
    time.sleep(0.01)
time.sleep({seconds})
open("{place}/heard", "w").write(" ".join(map(str, map(int, heard))) + " " + str(helper.poll()))
"""


@pytest.mark.parametrize(("seconds", "done"), [(1.5, True), (60, False)])
def test_a_program_with_patience_alone_hears_of_the_end_and_once(
    tmp_path: Path, seconds: float, done: bool
) -> None:
    """What it started is not signalled while it cleans up, and killed behind it; others are not waited for as
    long.
    """
    mark = f"6{os.getpid()}{int(done)}"
    program = PATIENT.format(place=tmp_path, seconds=seconds, helper=mark)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom imagebuild.tools import command\npatient ="
        f" command.Process([sys.executable, '-c', {program!r}], patience=4.0)\nstubborn ="
        " command.Process(['sh', '-c', 'trap \"\" TERM; while :; do sleep 0.1; done'])\nwhile not"
        f" Path({str(tmp_path)!r}, 'ready').exists(): time.sleep(0.01)\nassert command.patience() =="
        " 4.0\nbegun = time.monotonic()\ncommand.end_all(grace=0.5)\nprint(time.monotonic() - begun)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert float(said) < (4 if done else 8)
    assert (tmp_path / "heard").exists() == done
    if done:
        assert (tmp_path / "heard").read_text() == "2 None"
    # a killed group is gone a moment later
    time.sleep(0.2)
    assert (
        subprocess.run(["pgrep", "-f", f"^sleep {mark}$"], check=False, stdout=subprocess.DEVNULL).returncode
        == 1
    )


def test_without_programs_the_usual_grace_is_all() -> None:
    assert command.patience() == command.GRACE_SECONDS


def test_the_time_of_what_is_made_is_the_steps_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """mksquashfs 4.5 refuses options that say the same: a build with SOURCE_DATE_EPOCH failed."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    asked = ["sh", "-c", "echo ${SOURCE_DATE_EPOCH-unset}"]
    assert command.run(asked) == "unset\n"
    assert command.run(asked, env={"SOURCE_DATE_EPOCH": "1"}) == "1\n"
