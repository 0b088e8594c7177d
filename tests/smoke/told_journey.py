"""A journey that is over: where it came by is told."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_UNIT
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.commands import Deployment
from imagebuild.smoke.served import PACKAGE, Earlier, ServedRelease
from imagebuild.smoke.stops import Fall, Offer, SoftReboot, Stop, Survival
from imagebuild.tools.ssh import Answer
from tests.smoke.trials import COMMIT, EXPECTED, REFSPEC


def stop(*deployments: Deployment, **changed: Any) -> Stop:
    """Return what a healthy host is found to be after a leg."""
    healthy = Stop(
        deployments=deployments,
        before=True,
        after=False,
        var=True,
        volume="kept",
        hostname=EXPECTED.hostname,
        machine_id="ab" * 16,
        script_runs=(1, 1),
        storage="vda",
        units={CONTAINER_UNIT: "active", SYSTEM_UNIT: "active"},
        failed_units=(),
    )
    return replace(healthy, **changed)


def deployment(commit: str, *, booted: bool = False, **changed: Any) -> Deployment:
    """Return a deployment of the demo's ref; its version is the beginning of its commit."""
    values: dict[str, Any] = {"version": commit[:2], "origin": REFSPEC} | changed
    return Deployment(commit=commit, booted=booted, **values)


NEXT, OLDER, SOFT = "ee" * 32, "0d" * 32, "5f" * 32
# what the initramfs of each release leaves: of the candidate's nothing
MARKS = {NEXT: "next", OLDER: "older"}
HEALTHY_STOPS = {
    "start": stop(deployment(COMMIT, booted=True)),
    "upgraded": stop(deployment(NEXT, booted=True), deployment(COMMIT)),
    "soft_rebooted": stop(deployment(SOFT, booted=True), deployment(COMMIT)),
    "rolled_back": stop(deployment(COMMIT, booted=True), deployment(NEXT)),
    "forward": stop(deployment(NEXT, booted=True), deployment(COMMIT)),
    "older_on_upgraded": stop(deployment(COMMIT, booted=True), deployment(NEXT)),
    "older_on_fresh": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "from_previous": stop(deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER)),
    "asleep": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "awake": stop(deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER)),
    "on_line_before": stop(deployment(OLDER, booted=True), deployment(COMMIT)),
    "from_line_before": stop(
        deployment(COMMIT, booted=True, version="12.3"), deployment(OLDER), deltas_read=("ab/cd/superblock",)
    ),
    "layered": stop(deployment(COMMIT, booted=True, requested=(PACKAGE,)), deployment(COMMIT)),
    "layered_upgraded": stop(
        deployment(NEXT, booted=True, requested=(PACKAGE,)), deployment(COMMIT, requested=(PACKAGE,))
    ),
    "unlayered": stop(deployment(NEXT, booted=True), deployment(NEXT, requested=(PACKAGE,))),
}
HEALTHY_STOPS = {
    name: replace(each, initramfs=MARKS.get(each.booted.commit, "")) for name, each in HEALTHY_STOPS.items()
}
SURVIVAL = Survival(
    looked_at=16,
    seed=1,
    cut="at the flush 7",
    menus={},
    booted=COMMIT,
    again=Answer(status=0, output="", complaint="", seconds=0.0),
    next=NEXT,
)
FALL = Fall(before=deployment(COMMIT, booted=True), after=deployment(COMMIT, booted=True), boots=4)
REFUSED = Answer(
    status=1,
    output="",
    complaint="error: Commit x: GPG verification enabled, but no signatures found",
    seconds=0.0,
)


class FakeJourney:
    """A journey that is over: its stops are told."""

    def __init__(
        self,
        host: Host,
        stops: Mapping[str, Stop],
        *,
        refusal: Answer = REFUSED,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.host, self.expected, self._stops, self._refusal, self.problems = (
            host,
            EXPECTED,
            dict(stops),
            refusal,
            dict(problems or {}),
        )
        self.deployed, self.survival, self.fall = False, SURVIVAL, FALL
        self.same_kernel = True
        self.over = False
        release = {
            name: ServedRelease(commit=commit, version=commit[:2], initramfs=MARKS.get(commit, ""))
            for name, commit in (
                *(("next", NEXT), ("older", OLDER), ("candidate", COMMIT)),
                ("same_kernel", SOFT),
            )
        }
        older = release["older"]
        earlier = Earlier(slept={"12-1": older}, line=older, deltas={OLDER: Path("deltas")})
        self.releases = SimpleNamespace(**release, lost=None, earlier=earlier, line=older)

    def __getattr__(self, name: str) -> Callable[..., Stop]:
        return lambda *_: self._stops[name]

    def refused(self) -> Offer:
        here = (deployment(COMMIT, booted=True),)
        return Offer(
            answer=self._refusal, before=here, after=here if not self.deployed else (deployment(NEXT), *here)
        )

    def cut_off(self) -> Survival:
        return self.survival

    def fallen_back(self) -> Fall:
        return self.fall

    def soft_rebooted(self) -> SoftReboot:
        return SoftReboot(same_kernel=self.same_kernel, stop=self._stops["soft_rebooted"])

    def found(self, leg: Callable[[], Stop]) -> Stop:
        return leg()
