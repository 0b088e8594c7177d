"""Looking at a guest in which a criterion failed."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.cli import image as cli
from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware, Login
from imagebuild.session import images
from imagebuild.smoke.trial import Run
from imagebuild.tools.accelerator import Accelerator
from tests.smoke import trials
from tests.stages.trees import TREE
from tests.wiring import settings


class StoppedError(Exception):
    """What was wanted is known."""


@pytest.mark.parametrize(("terminal", "tries"), [(None, 2), (Path("/dev/pts/7"), 1)])
def test_the_terminal_is_told_to_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: Path | None, tries: int
) -> None:
    asked: list[Run] = []

    def smoke_file(*arguments: object) -> None:
        run = arguments[-1]
        assert isinstance(run, Run)
        asked.append(run)
        raise StoppedError

    monkeypatch.setattr(images, "smoke_file", smoke_file)
    wanted = images.Wanted(
        image=tmp_path / "disk.qcow2",
        settings=settings(),
        ref="debian/12/x86_64/atomic-host",
        firmware=Firmware.UEFI,
        login=Login.CLOUD_INIT,
        commit=None,
        previous=(),
        repo=None,
    )
    subject = trials.trial(tmp_path).subject
    speed = Accelerator(name="tcg", slowness=1, reason="test")
    with pytest.raises(StoppedError):
        images._held(wanted, TREE, subject, speed, tmp_path, only=("artifact-boots",), terminal=terminal)
    assert (asked[0].scope.terminal, asked[0].scope.tries) == (terminal, tries)
    assert asked[0].scope.criteria == ("artifact-boots",)


def test_the_terminal_is_that_of_standard_input() -> None:
    program = "from imagebuild.cli.image import _terminal; print(_terminal())"
    ours, theirs = pty.openpty()
    try:
        said = subprocess.run(
            [sys.executable, "-c", program], stdin=theirs, capture_output=True, text=True, check=True
        ).stdout
        assert said.strip() == os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_without_a_terminal_nobody_can_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stdin", stream)
        with pytest.raises(UsageError, match="needs a terminal"):
            cli._terminal()
