"""A soft reboot: which hosts can, how it is waited for, and what a journey makes of it."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imagebuild.smoke.criterion import JOURNEYS, Asks
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.host.soft_reboots import COUNT
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.served import ServedRelease
from imagebuild.smoke.suite import Suite
from imagebuild.tools.ssh import Answer
from tests.smoke.healthy_host import HEALTHY, FakeTransport, broken_host
from tests.smoke.told_journey import SOFT, deployment
from tests.smoke.trials import COMMIT, EXPECTED, trial

CONF = "cat /usr/lib/ostree/prepare-root.conf"
# what Debian 14's programs print (ostree 2026.4, systemd 262)
ABLE: dict[str, str | None] = {
    "ostree --version": "libostree:\n Version: '2026.4'\n Git: 1\n",
    "systemctl --version": "systemd 262 (262-1)\n+PAM +AUDIT\n",
    CONF: "[composefs]\nenabled=verity\n",
}


def test_a_host_with_all_three_can() -> None:
    assert broken_host(ABLE).reason_not_to_soft_reboot() is None
    assert broken_host(ABLE | {CONF: "[composefs]\nenabled=yes\n"}).reason_not_to_soft_reboot() is None


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        # Debian 13's
        ({"ostree --version": "libostree:\n Version: '2025.2'\n"}, "since 2025.3"),
        ({"ostree --version": None}, "since 2025.3"),
        # RHEL 9's
        ({"systemctl --version": "systemd 252 (252-51.el9)\n"}, "since 254"),
        ({CONF: "[sysroot]\nreadonly=true\n"}, "only hosts with composefs"),
        ({CONF: None}, "only hosts with composefs"),
    ],
)
def test_a_host_without_one_of_them_cannot(answers: dict[str, str | None], reason: str) -> None:
    assert reason in (broken_host(ABLE | answers).reason_not_to_soft_reboot() or "")


@dataclass
class Userspace(FakeTransport):
    """A host whose userspace is away for some questions, and then another one."""

    away: int = 2
    count: int = 0
    begun: bool = field(default=False)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:]) if list(argv[:2]) == ["sudo", "-n"] else list(argv)
        if words == ["systemctl", "soft-reboot"]:
            self.begun = True
        if words == list(COUNT):
            if self.begun and self.away > 0:
                self.away -= 1
                return Answer(status=255, output="", complaint="connection refused", seconds=0.0)
            output = "1\n" if self.begun and self.away == 0 else f"{self.count}\n"
            return Answer(status=0, output=output, complaint="", seconds=0.0)
        return super().run(argv, stdin=stdin, timeout=timeout)


def on(transport: FakeTransport, **more: Any) -> Host:
    return Host(transport=transport, commands=OstreeHost(), slowness=0.0, **more)


def five_times(timeout: float) -> Callable[[int], bool]:
    """A patience that ends."""
    del timeout
    return lambda asked: asked > 5


PREPARE: dict[str, str | None] = {"ostree admin prepare-soft-reboot 0": ""}


def test_a_host_that_is_away_for_a_while_is_waited_for() -> None:
    transport = Userspace(HEALTHY | PREPARE)
    on(transport, patience=five_times).soft_reboot(0)
    ran = [line for line in transport.ran if "soft-reboot" in line]
    assert ran == ["ostree admin prepare-soft-reboot 0", "systemctl soft-reboot"]
    assert transport.away == 0


def test_a_host_that_does_not_come_back_fails() -> None:
    with pytest.raises(AssertionError, match="does not come back from a soft reboot"):
        on(Userspace(HEALTHY | PREPARE, away=-1), patience=five_times).soft_reboot(0)


def test_a_host_that_dies_on_the_way_says_so() -> None:
    class Dead:
        def fatal(self) -> str:
            return "Kernel panic - not syncing"

    power: Any = Dead()
    with pytest.raises(AssertionError, match="died in a soft reboot: Kernel panic"):
        on(Userspace(HEALTHY | PREPARE, away=9), power=power).soft_reboot(0)


def test_what_ostree_refuses_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="prepare-soft-reboot 0` ended with 1"):
        on(Userspace(dict(HEALTHY))).soft_reboot(0)


def test_what_nobody_can_wait_for_is_not_tested() -> None:
    with pytest.raises(NotTestedError, match="does not count soft reboots"):
        broken_host(PREPARE | {" ".join(COUNT): "\n"}).soft_reboot(0)


# --- the journey --------------------------------------------------------------------------------------------


class Softly(Host):
    """A host whose soft reboots are told."""

    boot = "one"
    after = "one"

    def boot_id(self) -> str:
        return self.boot

    def soft_reboot(self, index: int) -> None:
        self.boot = f"{self.after}" if index == 0 else "wrong"


@dataclass
class Staging:
    """The commands of a host that stages."""

    status: int = 0
    name: str = "ostree admin"
    staged: int = 0

    def stage(self, shell: Any) -> Answer:
        self.staged += 1
        return Answer(status=self.status, output="", complaint="error: no space left", seconds=0.0)

    def deployments(self, shell: Any) -> Any:
        return (deployment(SOFT, booted=bool(self.staged)), deployment(COMMIT))


def journey_with(commands: Staging, tmp_path: Path, after: str = "one") -> Journey:
    told: Any = commands
    units = {"systemctl show": "ActiveState=active\n"}
    host = Softly(transport=FakeTransport({**HEALTHY, **units}), commands=told, slowness=0.0)
    host.after = after
    published: list[str] = []

    class Releases:
        url, key, deltas_read = "http://x", "KEY", ()
        same_kernel = ServedRelease(commit=SOFT, version="5f")

        def publish(self, release: ServedRelease) -> None:
            published.append(release.commit)

    releases: Any = Releases()
    return Journey(host, EXPECTED, releases, tmp_path / "journey.log")


@pytest.mark.parametrize(("after", "same"), [("one", True), ("two", False)])
def test_a_journey_stages_a_release_and_looks_where_it_came_to(
    after: str, same: bool, tmp_path: Path
) -> None:
    commands = Staging()
    journey = journey_with(commands, tmp_path, after)
    found = journey.soft_rebooted()
    assert (found.same_kernel, found.stop.booted.commit) == (same, SOFT)
    assert journey.soft_rebooted() is found
    assert commands.staged == 1


def test_a_release_that_cannot_be_staged_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="staging ended with 1: error: no space left"):
        journey_with(Staging(status=1), tmp_path).soft_rebooted()


def test_how_each_kind_of_host_stages() -> None:
    plain, rpm = FakeTransport(HEALTHY | {"ostree admin upgrade": ""}), FakeTransport(dict(HEALTHY))
    OstreeHost().stage(on(plain))
    RpmOstreeHost().stage(on(rpm))
    assert plain.ran == ["ostree admin upgrade --stage"]
    assert rpm.ran[-1] == "rpm-ostree upgrade --upgrade-unchanged-exit-77"


# --- the suite ----------------------------------------------------------------------------------------------


class FakeMachine:
    saved = 0

    def save(self) -> None:
        self.saved += 1

    def fresh_copy(self, name: str) -> None:
        assert name == "soft"


@pytest.mark.parametrize("able", [True, False])
def test_only_a_host_that_can_is_saved_for_it(
    able: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite(trial(tmp_path), tmp_path, contextlib.ExitStack())
    host = broken_host(ABLE if able else {})
    machine: Any = FakeMachine()
    boot: Any = type("Boot", (), {"host": host, "expected": EXPECTED, "problem": None, "rig": False})
    monkeypatch.setattr(Suite, "first", (machine, boot))
    monkeypatch.setattr(Suite, "releases", None)
    if able:
        assert suite.soft_journey("ostree admin").host is host
    else:
        with pytest.raises(NotApplicableError, match=r"since 2025\.3"):
            suite.soft_journey("ostree admin")
    assert machine.saved == able


def test_it_is_gone_after_every_journey_of_a_host_that_boots() -> None:
    assert JOURNEYS.index(Asks.SOFT_JOURNEY) == len(JOURNEYS) - 2
