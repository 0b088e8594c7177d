"""A host's way from release to release: each leg is gone once, whoever asks first, and what is found at its
end is kept.

Criteria look at what was found (`Stop`), so they may be run in any order and alone. A leg that cannot be
begun because an earlier one failed is not tested.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.smoke.container_units import (
    CONTAINER_UNIT,
    SYSTEM_UNIT,
    TEST_UNITS,
    start_container_unit,
    start_system_container,
)
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.host.expected import RUNCMD_LOG, SCRIPT_LOG, Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.once import Once
from imagebuild.smoke.served import ServedRelease
from imagebuild.smoke.stops import Fall, Offer, SoftReboot, Stop, Survival
from imagebuild.tools.initramfs import MARK
from imagebuild.tools.ssh import Answer

if TYPE_CHECKING:
    # it needs libostree, which nobody needs who only asks what the criteria are
    from imagebuild.smoke.releases import Releases

T = TypeVar("T")
BEFORE, AFTER = "/etc/imagebuild-before", "/etc/imagebuild-after"
VAR = "/var/lib/imagebuild-kept"
VOLUME = "imagebuild-kept"
REPOS = "/etc/yum.repos.d"
# greenboot tries three times (greenboot.conf, GREENBOOT_MAX_BOOT_ATTEMPTS), then the old one is booted
FALLBACK_BOOTS = 6
# characters of a reason
REASON = 600


class Journey:
    """The way of one host, told what to do in one way (`host.commands`)."""

    def __init__(
        self, host: Host, expected: Expected, releases: "Releases", log: Path, *, label: str = ""
    ) -> None:
        self.host, self.expected, self.releases, self._log, self._label = host, expected, releases, log, label
        self._gone = Once()
        self._volume_place = ""
        self.problems: dict[str, str] = {}
        # what records the upgrade, and what makes of it what a power cut would have left
        self.recorded: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self.cut: Callable[[Journey], Survival] | None = None
        # another journey has begun on the same machine: what was found stays, but there is no way on from
        # here
        self.over = False

    # --- the legs ---

    def start(self) -> Stop:
        """The first boot: what must survive is put there, and the remote points at the test's server."""
        return self._leg("start", self._prepare)

    def refused(self) -> Offer:
        """Offer a release that nobody signed, wherever the host is now; return what it said. It must not
        deploy it.
        """

        def offer() -> Offer:
            before = tuple(self.host.commands.deployments(self.host))
            answer = self._offered(self.releases.unsigned)
            return Offer(answer=answer, before=before, after=tuple(self.host.commands.deployments(self.host)))

        return self._leg("unsigned", offer, after=self.start)

    def upgraded(self) -> Stop:
        """Upgrade from the candidate to the next release."""
        return self._leg("upgrade", self._recorded_upgrade, after=self.start)

    def cut_off(self) -> Survival:
        """What a power cut in the middle of that upgrade would have left, booted. Raises NotTestedError."""
        if self.cut is None:
            raise NotTestedError("the upgrade was not recorded")
        cut = self.cut
        return self._leg("power cut", lambda: cut(self), after=self.upgraded)

    def fallen_back(self) -> Fall:
        """Upgrade to a release that does not come up, wherever the host is now, and boot until it is up."""
        return self._leg("fallback", self._fall_back, after=self.start)

    def soft_rebooted(self) -> SoftReboot:
        """Stage a release with the kernel that runs, and go there without a boot of the firmware."""
        return self._leg("soft reboot", self._soft_reboot, after=self.start)

    def rolled_back(self) -> Stop:
        """Write a file into /etc of the upgraded host, then roll back to where it came from."""
        return self._leg("rollback", self._roll_back, after=self.upgraded)

    def forward(self) -> Stop:
        """Upgrade to the next release again."""
        return self._leg(
            "forward", lambda: self._upgrade(self.releases.next, "forward"), after=self.rolled_back
        )

    def older_on_upgraded(self) -> Stop:
        """Deploy the candidate, which is older now: by checksum (and discard it again), then by version, and
        boot it.
        """
        return self._leg(
            "older",
            lambda: self._older(self.releases.candidate, self.releases.next, "back"),
            after=self.forward,
        )

    def older_on_fresh(self) -> Stop:
        """The same on a fresh host, with the release before the candidate."""
        return self._leg(
            "older",
            lambda: self._older(self.releases.older, self.releases.after_older, "older"),
            after=self.start,
        )

    def from_previous(self) -> Stop:
        """From that release, upgrade to the candidate."""
        return self._leg(
            "candidate",
            lambda: self._upgrade(self.releases.candidate, "candidate", coming_from=self.releases.older),
            after=self.older_on_fresh,
        )

    def asleep(self, release: ServedRelease) -> Stop:
        """Deploy a release older than the one before, as the newest there is, and boot it."""

        def go() -> Stop:
            self.releases.publish(release)
            self.host.commands.deploy(self.host, commit=release.commit)
            return self._arrive("asleep")

        return self._leg("asleep", go, after=self.start)

    def awake(self, release: ServedRelease) -> Stop:
        """From there, upgrade to the candidate at once."""
        return self._leg(
            "awake",
            lambda: self._upgrade(self.releases.candidate, "awake", coming_from=release),
            after=lambda: self.asleep(release),
        )

    def on_line_before(self, line: ServedRelease) -> Stop:
        """Switch to the ref of the release line before, and boot what it points at."""
        return self._leg("line before", lambda: self._switch(line, line.ref, "line-before"), after=self.start)

    def from_line_before(self, line: ServedRelease) -> Stop:
        """From there, switch to this line's ref."""
        ref = self.expected.promise.ref
        return self._leg(
            "this line",
            lambda: self._switch(self.releases.candidate, ref, "this-line", coming_from=line),
            after=lambda: self.on_line_before(line),
        )

    def layered(self, url: str, package: str) -> Stop:
        """Layer a package of a repository, and boot into that."""
        return self._leg("layering", lambda: self._layer(url, package), after=self.start)

    def layered_upgraded(self, url: str, package: str) -> Stop:
        """Upgrade a host with a layered package."""
        return self._leg(
            "layered upgrade",
            lambda: self._upgrade(self.releases.next, "layered-upgraded"),
            after=lambda: self.layered(url, package),
        )

    def unlayered(self, url: str, package: str) -> Stop:
        """Remove the package again."""

        def remove() -> Stop:
            self.host.commands.uninstall(self.host, package)
            return self._arrive("unlayered")

        return self._leg("unlayering", remove, after=lambda: self.layered_upgraded(url, package))

    # --- how they are gone ---

    @staticmethod
    def kept_by(host: Host) -> bool:
        """Whether what was written before the journey's first leg, and is to last, is on a host."""
        return host.is_there(VAR) and (host.has_transient_etc() or host.is_there(BEFORE))

    def _leg(self, name: str, go: Callable[[], T], *, after: Callable[[], object] | None = None) -> T:
        if name not in self._gone:
            if self.over:
                raise RigError(f"{name}: the machine has been set back for another journey")
            # an earlier leg that failed is not a failure of this one
            if after is not None:
                self.found(after)
        found = self._gone(name, lambda: self._logged(name, go))
        if isinstance(found, Stop):
            self.host.note(f"# found after {name}: {json.dumps(dataclasses.asdict(found))}")
        return found

    def _logged(self, name: str, go: Callable[[], T]) -> T:
        with self.host.noting(self._log):
            self.host.note(f"# {name}, by {self.host.commands.name}")
            return go()

    def found(self, leg: Callable[[], T]) -> T:
        """Go a leg that is only the way to somewhere else: when it fails, that place is not tested."""
        try:
            return leg()
        except (AssertionError, BuildError) as error:
            # a reason of several lines is one all the same: its first may be only a warning
            raise NotTestedError(
                f"the host did not get that far: {' '.join(str(error).split())[:REASON]}"
            ) from error

    def _prepare(self) -> Stop:
        host = self.host
        host.write(BEFORE, "written before the upgrade\n")
        host.write(VAR, "kept\n")
        self._volume_place = self._try("volume", lambda: _fill_volume(host, self.expected))
        self._try(CONTAINER_UNIT, lambda: start_container_unit(host, self.expected))
        self._try(SYSTEM_UNIT, lambda: start_system_container(host))
        host.point_remote(
            self.expected.promise.refspec.partition(":")[0], self.releases.url, self.releases.key
        )
        return self._look()

    def _try(self, what: str, go: Callable[[], str]) -> str:
        """Do what other legs do not need: a host without containers can still be upgraded. `problems` says
        what did not work.
        """
        try:
            return go()
        except (AssertionError, NotTestedError) as error:
            self.problems[what] = str(error)
            self.host.note(f"# {what}: {error}")
            return ""

    def _offered(self, release: ServedRelease, *, coming_from: ServedRelease | None = None) -> Answer:
        self.releases.publish(release, coming_from=coming_from)
        return self.host.commands.upgrade(self.host)

    def _switch(
        self, release: ServedRelease, ref: str, name: str, *, coming_from: ServedRelease | None = None
    ) -> Stop:
        self.releases.publish(release, coming_from=coming_from)
        remote = self.expected.promise.refspec.partition(":")[0]
        self.host.commands.switch(self.host, f"{remote}:{ref}")
        return self._arrive(name)

    def _upgrade(
        self, release: ServedRelease, name: str, *, coming_from: ServedRelease | None = None
    ) -> Stop:
        answer = self._offered(release, coming_from=coming_from)
        assert answer.status != 77, (
            f"{self.host.commands.name}: the host finds nothing to upgrade to: {answer.output.strip()[-300:]}"
        )
        assert answer.status == 0, (
            f"{self.host.commands.name}: the upgrade ended with {answer.status}: {_tail(answer)}"
        )
        return self._arrive(name)

    def _recorded_upgrade(self) -> Stop:
        with self.recorded():
            return self._upgrade(self.releases.next, "upgraded")

    def _roll_back(self) -> Stop:
        self.host.write(AFTER, "written after the upgrade\n")
        self.host.commands.rollback(self.host)
        return self._arrive("rolled-back")

    def _soft_reboot(self) -> SoftReboot:
        self.releases.publish(self.releases.same_kernel)
        answer, before = self.host.commands.stage(self.host), self.host.boot_id()
        assert answer.status == 0, (
            f"{self.host.commands.name}: staging ended with {answer.status}: {_tail(answer)}"
        )
        self.host.soft_reboot(0)
        return SoftReboot(same_kernel=self.host.boot_id() == before, stop=self._look())

    def _fall_back(self) -> Fall:
        before = self.host.booted()
        answer = self._offered(self.releases.restless)
        assert answer.status == 0, (
            f"the host does not take a release that will not come up: it ended with {answer.status}:"
            f" {_tail(answer)}"
        )
        boots = self.host.reboot_until_up(self._label + "fallback", FALLBACK_BOOTS)
        return Fall(before=before, after=self.host.booted(), boots=boots)

    def _older(self, release: ServedRelease, head: ServedRelease, name: str) -> Stop:
        host = self.host
        self.releases.publish(head)
        host.commands.deploy(host, commit=release.commit)
        waiting = host.commands.deployments(host)[0]
        assert waiting.commit == release.commit, (
            f"deployed by checksum {release.commit}, but {waiting.commit} would be booted"
        )
        host.commands.discard(host)
        host.commands.deploy(host, version=release.version)
        return self._arrive(name)

    def _layer(self, url: str, package: str) -> Stop:
        # of the tree's own repositories none can be reached, and one is enough for an error
        self.host.succeeds("mkdir", "-p", REPOS, "/var/tmp/repos")
        self.host.succeeds("find", REPOS, "-name", "*.repo", "-exec", "mv", "-t", "/var/tmp/repos", "{}", "+")
        # dnf.conf(5): a repository of the test, whose package nobody signed
        self.host.write(
            f"{REPOS}/imagebuild.repo",
            f"[imagebuild]\nname=imagebuild\nbaseurl={url}\nenabled=1\ngpgcheck=0\n",
        )
        self.host.commands.install(self.host, package)
        return self._arrive("layered")

    def _arrive(self, name: str) -> Stop:
        self.host.reboot(self._label + name)
        return self._look()

    def _look(self) -> Stop:
        host, read = self.host, tuple(self.releases.deltas_read)
        # the test's own units have criteria of their own
        failed = tuple(
            unit
            for unit in host.failed_units()
            if unit not in (*self.expected.terms.allowed_failed_units, *TEST_UNITS)
        )
        units = {unit: host.unit(unit, "ActiveState").get("ActiveState", "") for unit in TEST_UNITS}
        return Stop(
            deployments=tuple(host.commands.deployments(host)),
            before=host.is_there(BEFORE),
            after=host.is_there(AFTER),
            var=host.is_there(VAR),
            volume=(host.read(self._volume_place) or "").strip() if self._volume_place else "",
            hostname=host.hostname(),
            machine_id=(host.read("/etc/machine-id") or "").strip(),
            script_runs=(
                len((host.read(SCRIPT_LOG) or "").splitlines()),
                len((host.read(RUNCMD_LOG) or "").splitlines()),
            ),
            storage=host.storage_layout(),
            units=units,
            failed_units=failed,
            initramfs=(host.read(MARK) or "").strip(),
            deltas_read=read,
            insecure=(host.reason_insecure() if self.expected.firmware is Firmware.UEFI_SECURE else None),
        )


def _tail(answer: Answer) -> str:
    return (answer.complaint or answer.output).strip()[-500:]


def _fill_volume(host: Host, expected: Expected) -> str:
    """Let a container write into a volume; return where the host keeps that file, empty without a runtime."""
    runtimes = host.container_runtimes()
    if not runtimes:
        return ""
    # old podmans have no volumes
    runtime = next(
        (name for name in reversed(runtimes) if host.run(name, "volume", "ls", seconds=60).status == 0),
        runtimes[0],
    )
    image = host.pull_container_image(runtime, expected)
    host.succeeds(
        runtime,
        "run",
        "--rm",
        "--network=none",
        "-v",
        f"{VOLUME}:/data",
        image,
        "sh",
        "-c",
        "echo kept > /data/file",
        seconds=60,
    )
    place = host.succeeds(
        runtime, "volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME, seconds=60
    ).strip()
    return f"{place}/file"
