"""%onerror runs when an installation fails, in the live system, and nowhere else."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from imagebuild import steplog
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.errors import BuildError
from imagebuild.live import disks, install, kickstarts, on_error
from imagebuild.live.arguments import Arguments
from imagebuild.live.kickstarts import Found
from imagebuild.live.terminal import Terminal
from tests.fake_sandbox import FakeSandbox
from tests.kickstart import samples
from tests.kickstart.samples import SMALL

LIVE = LiveSystem(tree=Path("/dev/loop0"), medium=frozenset({"sda"}))
SCRIPTS = """%onerror --interpreter=/bin/bash
echo first
%end
%onerror --log=/run/install/b.log
echo second
%end
"""


class Screen:
    """A terminal that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> FakeSandbox:
    found = FakeSandbox()
    monkeypatch.setattr(on_error, "local_target", lambda *_: contextlib.nullcontext(found))
    return found


@contextlib.contextmanager
def failing(text: str, screen: Screen, error: BaseException) -> Iterator[None]:
    with (
        pytest.raises(type(error)) as caught,
        on_error.executed(LIVE, text, "F40", "ks.cfg", cast("Terminal", screen)),
    ):
        raise error
    assert caught.value is error, "what failed is said, not what came of it"
    yield


def test_the_sections_run_in_their_order_and_the_failure_stays(place: FakeSandbox) -> None:
    screen = Screen()
    with failing(SMALL + SCRIPTS, screen, BuildError("the disk is gone")):
        pass
    assert [file.data for file in place.files.values()] == [b"echo second\n"], "the last one's, in one file"
    assert [argv[0] for argv in place.ran] == ["/bin/bash", "sh"]
    assert "/run/install/b.log" in place.ran[1]
    assert screen.said == ["the installation failed: running 2 %onerror section(s) of ks.cfg"]


def test_they_run_for_a_bug_and_for_a_kickstart_that_is_none(place: FakeSandbox) -> None:
    with failing(SMALL + "nonsense\n" + SCRIPTS, Screen(), ZeroDivisionError()):
        pass
    assert len(place.ran) == 2


def test_nothing_runs_when_nothing_fails_or_somebody_ends_it(place: FakeSandbox) -> None:
    with on_error.executed(LIVE, SMALL + SCRIPTS, "F40", "ks.cfg", cast("Terminal", Screen())):
        pass
    with failing(SMALL + SCRIPTS, Screen(), KeyboardInterrupt()):
        pass
    with failing(SMALL, Screen(), BuildError("no sections")):
        pass
    assert place.ran == []


def test_one_that_fails_itself_is_recorded(place: FakeSandbox, tmp_path: Path) -> None:
    place.fails = "/bin/bash"
    with steplog.writing_to(tmp_path / "log"), failing(SMALL + SCRIPTS, Screen(), BuildError("first")):
        pass
    assert len(place.ran) == 2, "the next one runs all the same"
    assert "%onerror of line 9 failed, which is allowed" in (tmp_path / "log").read_text()


def test_on_a_build_host_the_sections_are_only_noted(tmp_path: Path) -> None:
    with steplog.writing_to(tmp_path / "log"):
        assert samples.read(SMALL + SCRIPTS).scripts == ()
    assert (
        "test.ks:9: %onerror runs when an installation from the ISO fails" in (tmp_path / "log").read_text()
    )


def test_the_installer_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on that it has a kickstart."""
    told: list[str] = []

    @contextlib.contextmanager
    def executed(_live: object, text: str, syntax: str, name: str, _terminal: object) -> Iterator[None]:
        told.extend([text, syntax, name])
        yield

    monkeypatch.setattr(on_error, "executed", executed)
    monkeypatch.setattr(disks, "wait_until_known", lambda: None)
    monkeypatch.setattr(install, "_installed", lambda *_: "reboot")
    release = install.MediumRelease(
        product="P", version="1", ref="r", commit="c", kernel="6", syntax="F40", signed=True, keys=()
    )
    monkeypatch.setattr(install.MediumRelease, "read", lambda: release)
    found = Found(text="text\n", name="mine", given=True)
    monkeypatch.setattr(kickstarts, "find", lambda *_: found)
    arguments = Arguments(kickstart=None, rescue=False, sshd=False)
    assert install.run(LIVE, arguments, cast("Terminal", Screen())) == "reboot"
    assert told == ["text\n", "F40", "mine"]
