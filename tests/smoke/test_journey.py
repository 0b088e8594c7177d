"""A journey's legs: each gone once, in the order they need each other; a leg that fails leaves what comes
after it untested.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_UNIT
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import Deployment
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools.ssh import Answer
from tests.smoke.healthy_host import HEALTHY, FakeTransport
from tests.smoke.told_journey import MARKS, NEXT, OLDER, deployment
from tests.smoke.trials import COMMIT, EXPECTED

DONE = Answer(status=0, output="", complaint="", seconds=0.0)


@dataclass
class World:
    """A host that behaves: what is deployed runs after a reboot. Files in /etc go with their deployment."""

    deployments: list[Deployment] = field(default_factory=lambda: [deployment(COMMIT, booted=True)])
    published: str = COMMIT
    etc: dict[str, set[str]] = field(default_factory=lambda: {COMMIT: set()})
    boots: list[str] = field(default_factory=list)
    broken: str = ""
    refs: dict[str, str] = field(default_factory=dict)
    follows: str = ""
    name: str = "ostree admin"

    # --- the commands of a host
    def listing(self) -> Sequence[Deployment]:
        return tuple(self.deployments)

    def go_to(self, commit: str) -> Answer:
        here = next(each for each in self.deployments if each.booted)
        self.etc[commit] = set(self.etc[here.commit])
        kept = [each for each in self.deployments if each.commit != commit]
        self.deployments = [deployment(commit), *kept][:2]
        return DONE


class Commands:
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def name(self) -> str:
        return self._world.name

    def deployments(self, shell: Any) -> Sequence[Deployment]:
        return self._world.listing()

    def upgrade(self, shell: Any) -> Answer:
        world = self._world
        if world.broken == "upgrade":
            return replace(DONE, status=1, complaint="error: no space left")
        if world.published == world.deployments[0].commit:
            return replace(DONE, status=77)
        return world.go_to(world.published)

    stage = upgrade

    def rollback(self, shell: Any) -> None:
        self._world.deployments = self._world.deployments[1:] + self._world.deployments[:1]

    def deploy(self, shell: Any, *, commit: str = "", version: str = "") -> None:
        self._world.go_to(commit or next(each for each in (COMMIT, OLDER) if each[:2] == version))

    def switch(self, shell: Any, refspec: str) -> None:
        world = self._world
        world.follows = refspec
        world.go_to(world.refs[refspec.partition(":")[2]])

    def discard(self, shell: Any) -> None:
        self._world.deployments = self._world.deployments[1:]

    def install(self, shell: Any, package: str) -> None:
        raise AssertionError("not here")

    uninstall = install


class Power:
    def __init__(self, world: World) -> None:
        self._world = world

    def restart(self, name: str) -> str | None:
        world = self._world
        if world.broken == name:
            return "the kernel panicked"
        world.boots.append(name)
        world.deployments = [replace(each, booted=index == 0) for index, each in enumerate(world.deployments)]
        return None

    def fatal(self) -> str | None:
        return None

    def consoles(self) -> str:
        return ""


class Transport(FakeTransport):
    """Knows files of /etc, and the boot."""

    def __init__(self, world: World) -> None:
        super().__init__(
            HEALTHY
            | {
                "systemctl show": "ActiveState=active\n",
                "podman volume inspect": "/volume\n",
                "cat /volume/file": "kept\n",
            }
        )
        self._world = world

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        here = next(each for each in self._world.deployments if each.booted).commit
        words = list(argv[3:])
        if words[:2] == ["cat", "/proc/sys/kernel/random/boot_id"]:
            return replace(DONE, output=f"{len(self._world.boots)}\n")
        if words[:2] == ["sh", "-c"] and words[-1].startswith("/etc/imagebuild-"):
            self._world.etc[here].add(words[-1])
        if words == ["cat", "/run/imagebuild-initramfs"]:
            return replace(DONE, output=MARKS[here] + "\n") if here in MARKS else replace(DONE, status=1)
        if words[:2] == ["test", "-e"]:
            return replace(
                DONE, status=0 if words[2] in self._world.etc[here] or words[2].startswith("/var/") else 1
            )
        return super().run(argv, stdin=stdin, timeout=timeout)


class FakeReleases:
    url, key = "http://10.0.2.100/repo", "KEY"
    candidate, next, older = (
        ServedRelease(commit=commit, version=commit[:2]) for commit in (COMMIT, NEXT, OLDER)
    )
    unsigned, after_older = (
        ServedRelease(commit="aa" * 32, version="aa"),
        ServedRelease(commit="bb" * 32, version="bb"),
    )

    def __init__(self, world: World) -> None:
        self._world = world
        self.deltas_read: list[str] = []

    def publish(self, release: ServedRelease, *, coming_from: ServedRelease | None = None) -> None:
        self._world.published = release.commit
        self._world.refs[release.ref or EXPECTED.promise.ref] = release.commit
        self.deltas_read[:] = [coming_from.commit] if coming_from is not None else []


def journey_in(world: World, tmp_path: Path) -> Journey:
    host = Host(transport=Transport(world), commands=Commands(world), slowness=0.0, power=Power(world))
    releases: Any = FakeReleases(world)
    return Journey(host, EXPECTED, releases, tmp_path / "journey.log", label="x-")


def test_every_leg_is_gone_once(tmp_path: Path) -> None:
    world = World()
    journey = journey_in(world, tmp_path)
    assert journey.older_on_upgraded().booted.commit == COMMIT
    assert journey.upgraded().booted.commit == NEXT
    back = journey.rolled_back()
    assert (back.booted.commit, back.before, back.after, back.var, back.volume) == (
        COMMIT,
        True,
        False,
        True,
        "kept",
    )
    assert journey.forward().booted.commit == NEXT
    assert world.boots == ["x-upgraded", "x-rolled-back", "x-forward", "x-back"]
    assert "# rollback, by ostree admin" in (tmp_path / "journey.log").read_text()


def test_a_fresh_host_goes_back_and_on(tmp_path: Path) -> None:
    world = World()
    journey = journey_in(world, tmp_path)
    assert journey.from_previous().booted.commit == COMMIT
    assert journey.older_on_fresh().booted.commit == OLDER
    assert world.boots == ["x-older", "x-candidate"]


def test_a_host_sleeps_and_comes_up_at_this_release(tmp_path: Path) -> None:
    world = World()
    journey, slept = journey_in(world, tmp_path), ServedRelease(commit=OLDER, version="0d")
    assert journey.awake(slept).booted.commit == COMMIT
    assert journey.asleep(slept).booted.commit == OLDER
    assert world.boots == ["x-asleep", "x-awake"]


def test_a_host_of_the_line_before_switches_to_this_lines_ref(tmp_path: Path) -> None:
    world, ref = World(), "debian/11/x86_64/atomic-host"
    journey, line = journey_in(world, tmp_path), ServedRelease(commit=OLDER, version="11.9", ref=ref)
    assert journey.on_line_before(line).booted.commit == OLDER
    assert world.follows.partition(":")[2] == ref
    stop = journey.from_line_before(line)
    assert (stop.booted.commit, world.follows) == (COMMIT, EXPECTED.promise.refspec)
    # what the server was asked for is of this leg
    assert stop.deltas_read == (OLDER,)
    assert world.boots == ["x-line-before", "x-this-line"]


def test_a_leg_that_fails_fails_for_its_own_criterion_only(tmp_path: Path) -> None:
    world = World(broken="upgrade")
    journey = journey_in(world, tmp_path)
    with pytest.raises(
        NotTestedError,
        match="did not get that far: ostree admin: the upgrade ended with 1: error: no space left",
    ):
        journey.rolled_back()
    for _ in range(2):
        with pytest.raises(AssertionError, match="the upgrade ended with 1"):
            journey.upgraded()
    assert not world.boots


def test_a_host_that_does_not_come_up_again(tmp_path: Path) -> None:
    journey = journey_in(World(broken="x-upgraded"), tmp_path)
    with pytest.raises(AssertionError, match=r"after the reboot \(x-upgraded\): the kernel panicked"):
        journey.upgraded()
    with pytest.raises(NotTestedError, match="the kernel panicked"):
        journey.forward()


def test_nothing_to_upgrade_to_is_a_failure(tmp_path: Path) -> None:
    world = World()
    journey = journey_in(world, tmp_path)
    journey.start()
    journey.releases.publish(ServedRelease(commit=COMMIT, version="12"))
    assert journey.host.commands.upgrade(journey.host).status == 77
    journey.releases.next = ServedRelease(commit=COMMIT, version="12")
    with pytest.raises(AssertionError, match="finds nothing to upgrade to"):
        journey.upgraded()


def test_containers_that_do_not_work_do_not_stop_upgrades(tmp_path: Path) -> None:
    world = World()
    journey = journey_in(world, tmp_path)
    transport: Any = journey.host.transport
    transport.answers["podman pull"] = None
    assert journey.upgraded().booted.commit == NEXT
    assert "podman pull" in journey.problems["volume"]


def test_a_reboot_that_was_none_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    journey = journey_in(world, tmp_path)
    monkeypatch.setattr(Power, "restart", lambda *_: None)
    with pytest.raises(AssertionError, match="never rebooted"):
        journey.upgraded()


def test_a_rig_that_breaks_on_the_way_is_no_failure_of_the_next_criterion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journey = journey_in(World(), tmp_path)

    def break_down(*_: object) -> str:
        raise RigError("the connection broke")

    monkeypatch.setattr(Power, "restart", break_down)
    with pytest.raises(RigError):
        journey.upgraded()
    with pytest.raises(NotTestedError, match="the connection broke"):
        journey.rolled_back()


def test_the_tests_own_units_are_no_failed_ones_of_the_host(tmp_path: Path) -> None:
    journey = journey_in(World(), tmp_path)
    transport: Any = journey.host.transport
    listing = "".join(
        f"{unit} loaded failed failed x\n" for unit in (CONTAINER_UNIT, SYSTEM_UNIT, "boot.mount")
    )
    transport.answers["systemctl list-units"] = listing
    transport.answers["systemctl show"] = "ActiveState=failed\n"
    stop = journey.upgraded()
    assert stop.failed_units == ("boot.mount",)
    assert stop.units == {
        CONTAINER_UNIT: "failed",
        SYSTEM_UNIT: "failed",
    }, "criteria of their own ask for these"


def test_which_initramfs_runs_is_seen_at_every_stop(tmp_path: Path) -> None:
    journey = journey_in(World(), tmp_path)
    stops = (
        journey.start(),
        journey.upgraded(),
        journey.rolled_back(),
        journey.forward(),
        journey.older_on_upgraded(),
    )
    assert [each.initramfs for each in stops] == ["", "next", "", "next", ""]
    fresh = journey_in(World(), tmp_path)
    assert fresh.older_on_fresh().initramfs == "older"


def test_a_reason_is_not_only_its_first_line(tmp_path: Path) -> None:
    journey = journey_in(World(), tmp_path)

    def fails(*_: object) -> str:
        raise AssertionError("`x` ended with 1: warning: slow\nerror: no space left")

    journey.rolled_back = fails  # type: ignore[method-assign,assignment]  # a leg that fails with more than one line
    with pytest.raises(
        NotTestedError, match="get that far: `x` ended with 1: warning: slow error: no space left"
    ):
        journey.forward()
