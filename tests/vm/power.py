"""A host is recorded on its way: first boot, upgrade, rollback, an older release deployed; every write and
flush of its disk.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuild.kinds import Controller, Firmware
from imagebuild.model import Tree
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.recording import DISK, WRITES
from imagebuild.smoke.releases import Releases, offering
from imagebuild.smoke.served import ServedRelease
from imagebuild.smoke.trial import Promise, Scope, Subject, Trial
from imagebuild.tools import temporary
from imagebuild.tools.write_log import SUPER
from tests.vm.wiring import Lab

GROWN = 1 << 30
PHASES = "phases.json"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What `record_a_host` left: `phases` maps each phase to the number of the first request after it;
    `commits` are those of the releases that the host has met.
    """

    place: Path
    phases: dict[str, int]
    commits: dict[str, str]

    @property
    def disk(self) -> Path:
        """The disk as it was before (qcow2)."""
        return self.place / DISK

    @property
    def log(self) -> Path:
        """What was written to it."""
        return self.place / WRITES


def trial_of(
    lab: Lab,
    tree: Tree,
    disk: Path,
    form: str,
    evidence: Path,
    *,
    grown: bool = True,
    firmware: Firmware = Firmware.BIOS,
) -> Trial:
    """Return a trial of an installed disk; `grown`: larger than it was made."""
    evidence.mkdir(parents=True, exist_ok=True)
    return Trial(
        subject=Subject(
            artifact=evidence.name,
            disk=disk,
            format=form,
            controller=Controller.VIRTIO,
            grow=GROWN if grown else 0,
        ),
        bench=lab.bench(firmware),
        promise=Promise(
            terms=lab.terms(storage="podman-overlay"),
            commit=tree.commit,
            version=tree.version,
            ref=tree.ref,
            host_kind=tree.host_kind,
        ),
        scope=Scope(repo=tree.repo),
        evidence=evidence,
    )


def entries(log: Path) -> int:
    """Return how many requests a log has by now."""
    with log.open("rb") as stream:
        return int(SUPER.unpack(stream.read(SUPER.size))[2])


def record_a_host(lab: Lab, tree: Tree, disk: Path, place: Path) -> Recording:
    """Take a host through its first boot, an upgrade, a rollback and an older release."""
    trial = trial_of(lab, tree, disk, "raw", place / "evidence")
    candidate = ServedRelease(commit=tree.commit, version=tree.version)
    phases: dict[str, int] = {}
    with temporary.directory("power") as work, contextlib.ExitStack() as stack:
        offers = stack.enter_context(
            offering(work, lambda within: Releases(within, tree.repo, tree.ref, candidate, None))
        )
        releases = offers.releases
        assert releases is not None, offers.why_no_releases
        _, boot = stack.enter_context(guest(trial, trial.evidence, ports=offers.ports, record=place))
        assert boot.host is not None, boot.problem
        host = boot.host
        host.wait_for_the_boot()

        def over(phase: str) -> None:
            host.succeeds("sync")
            phases[phase] = entries(place / WRITES)

        over("first boot")
        _go(host, releases, trial, over)
        commits = {
            "candidate": tree.commit,
            "next": releases.next.commit,
            "older": releases.older.commit,
        }
    (place / PHASES).write_text(json.dumps({"phases": phases, "commits": commits}))
    return Recording(place=place, phases=phases, commits=commits)


def _go(host: Host, releases: Releases, trial: Trial, over: Callable[[str], None]) -> None:
    remote = trial.promise.refspec.partition(":")[0]
    host.point_remote(remote, releases.url, releases.key)
    releases.publish(releases.next)
    answer = host.commands.upgrade(host)
    assert answer.status == 0, answer.complaint
    over("upgrade")
    host.reboot("upgraded")
    over("boot of the upgraded")
    host.commands.rollback(host)
    over("rollback")
    host.reboot("rolled-back")
    over("boot of the rolled back")
    releases.publish(releases.after_older)
    host.commands.deploy(host, commit=releases.older.commit)
    over("deploy")
    host.reboot("older")
    over("boot of the older")


def read_recording(place: Path) -> Recording:
    """Read what `record_a_host` left."""
    kept = json.loads((place / PHASES).read_text())
    return Recording(place=place, phases=kept["phases"], commits=kept["commits"])
