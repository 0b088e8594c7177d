"""The local target refuses to run anywhere but inside the live system: a mistake here erases the build
host.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuild.deploy import live_system as guard
from imagebuild.deploy import local
from imagebuild.deploy.live_system import LiveSystem, NotLiveError, live_system
from imagebuild.deploy.local import install_local, local_target
from imagebuild.errors import BuildError
from imagebuild.tools import command
from tests.kickstart.samples import BIOS, SMALL, read
from tests.live.sysfs import sysfs

LIVE = LiveSystem(tree=Path("/dev/loop0"), medium=frozenset({"sda"}))
PLAN = read(SMALL, firmware=BIOS)
REAL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every program that would have been started; none is."""
    found: list[list[str]] = []

    def refuse(argv: Any, **_: Any) -> None:
        found.append([str(word) for word in argv])
        raise AssertionError(f"a program was started: {argv}")

    monkeypatch.setattr(command, "Process", refuse)
    monkeypatch.setattr(command, "run", refuse)
    monkeypatch.setattr(command, "status", refuse)
    return found


@pytest.mark.parametrize(
    "work",
    [
        live_system,
        lambda: local_target(LIVE, "sda", None).__enter__(),
        lambda: local_target(LIVE, None, None).__enter__(),
        lambda: install_local(LIVE, "sda", PLAN, commit="0" * 64, kernel="6.1"),
        lambda: local._wipe(LIVE, "sda"),
        lambda: local._reread(LIVE, "sda", PLAN),
    ],
    ids=["live_system", "local_target", "sandbox", "install_local", "_wipe", "_reread"],
)
def test_on_a_build_host_nothing_runs(work: Callable[[], object], ran: list[list[str]]) -> None:
    assert not guard.MARKER.exists(), "is this test run in the live installer?"
    with pytest.raises(NotLiveError):
        work()
    assert ran == []


def test_the_installer_itself_does_not_start(ran: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    from imagebuild.live import __main__ as program

    monkeypatch.setattr("sys.argv", ["imagebuild.live"])
    with pytest.raises(NotLiveError, match="not the live installer"):
        program.main()
    assert ran == []


def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: object) -> None:
    file = tmp_path / "marker"
    file.write_text(facts if isinstance(facts, str) else json.dumps(facts))
    monkeypatch.setattr(guard, "MARKER", file)


def test_a_marker_of_another_boot_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker(tmp_path, monkeypatch, {"boot_id": "of-another-boot", "tree": "/dev/loop0", "medium": ["8:0"]})
    with pytest.raises(NotLiveError, match="not made by the initramfs of this boot"):
        live_system()


def test_a_marker_alone_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker(
        tmp_path,
        monkeypatch,
        {"boot_id": REAL_BOOT_ID.read_text().strip(), "tree": "/dev/loop0", "medium": ["8:0"]},
    )
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 253:0 / / rw - ext4 /dev/vda rw\n")
    monkeypatch.setattr(guard, "MOUNTS", mounts)
    with pytest.raises(NotLiveError, match="the root file system is ext4"):
        live_system()


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"boot_id": 1}', "\x00"])
def test_a_broken_marker_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str) -> None:
    marker(tmp_path, monkeypatch, facts)
    with pytest.raises(NotLiveError):
        live_system()


def test_even_live_the_medium_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ran: list[list[str]]
) -> None:
    sysfs(tmp_path / "sys", monkeypatch)
    marker(
        tmp_path,
        monkeypatch,
        {"boot_id": REAL_BOOT_ID.read_text().strip(), "tree": "/dev/loop0", "medium": ["8:0"]},
    )
    live = live_system()
    assert live.medium == {"sda"}
    # whatever a caller holds: the marker is asked again
    careless = LiveSystem(tree=live.tree, medium=frozenset())
    for system in (live, careless):
        with pytest.raises(BuildError, match="/dev/sda is the installation medium: it is not touched"):
            install_local(system, "sda", PLAN, commit="0" * 64, kernel="6.1")
        with pytest.raises(BuildError, match="/dev/sda is the installation medium: it is not touched"):
            local._wipe(system, "sda")
    assert ran == []
