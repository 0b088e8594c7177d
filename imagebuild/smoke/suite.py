"""The guests that a run of the criteria needs, each made when the first criterion asks for it."""

import contextlib
import functools
from pathlib import Path

from imagebuild.architectures.registry import builder_architecture
from imagebuild.errors import BuildError
from imagebuild.smoke.changed_object import read_changed
from imagebuild.smoke.first_boot import SAVED, gone_on, guest
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError, RigError
from imagebuild.smoke.host.expected import Expected, Records
from imagebuild.smoke.host.services import ServedFacts
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.hosts.commands import HostCommands, UnavailableError
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.look import GuestAccess
from imagebuild.smoke.once import Once
from imagebuild.smoke.power_cuts import PowerCuts
from imagebuild.smoke.releases import Offers, Releases, make_packages, offering
from imagebuild.smoke.saved_boot import SavedBoots
from imagebuild.smoke.served import Earlier, ServedRelease
from imagebuild.smoke.served_guest import look_at_served_guest
from imagebuild.smoke.stops import ReadAgain
from imagebuild.smoke.trial import Trial
from imagebuild.tools import oci
from imagebuild.tools.console import plain
from imagebuild.tools.ostree.repository import Repo

SECOND = "second"
# no failure is told of a host that did not boot for it
NOT_BOOTED = "the host went on from its saved first boot"


class Suite:
    """One artifact's guests: the first boot that most criteria look at, a second one of the same image, and
    their journeys.

    `boots_nothing`: so do all criteria of this run, and a saved first boot will do; `restored`: it is one.
    """

    def __init__(
        self, trial: Trial, work: Path, stack: contextlib.ExitStack, *, boots_nothing: bool = False
    ) -> None:
        self.restored, self._boots_nothing = False, boots_nothing
        self.trial, self._work, self._stack = trial, work, stack
        self._kind = HOSTS[trial.promise.host_kind]
        self.ways: list[HostCommands] = self._kind.ways(atomic=trial.promise.atomic)
        self._journeys: dict[str, Journey] = {}
        self._saved = False
        self._not_softly: str | None = None
        self._guests: list[tuple[Guest, Boot]] = []
        self._current: Guest | None = None
        self._made = Once()

    @functools.cached_property
    def offers(self) -> Offers:
        """What guests find at the test's server."""
        return self._stack.enter_context(offering(self._work, self._make_releases, self._busybox))

    def _busybox(self) -> oci.Busybox | None:
        """Return a busybox for containers of the guests: where this machine's does not run there, their
        tree's own; None when that has no static one.
        """
        arch, repo = self.trial.bench.accelerator.arch, self.trial.scope.repo
        if arch == builder_architecture():
            return oci.own_busybox()
        program = Repo(repo).read(self.trial.promise.commit, "usr/bin/busybox") if repo is not None else None
        return oci.busybox_of(arch, program)

    def _make_releases(self, work: Path) -> Releases:
        promise, repo = self.trial.promise, self.trial.scope.repo
        if repo is None:
            raise NotTestedError(
                "no repository is known that has the commit: no release can be made to upgrade to (--repo)"
            )
        return Releases(
            work,
            repo,
            promise.ref,
            ServedRelease(commit=promise.commit, version=promise.version),
            promise.previous.served if promise.previous is not None else None,
            earlier_of(self.trial),
        )

    @property
    def releases(self) -> Releases:
        """The releases a host can go to. Raises NotTestedError when there are none."""
        if self.offers.releases is None:
            raise NotTestedError(self.offers.why_no_releases or "no releases are served")
        return self.offers.releases

    def _boot(self, evidence: Path) -> tuple[Guest, Boot]:
        offers = self.offers
        found = self._stack.enter_context(
            guest(self.trial, evidence, ports=offers.ports, registry=offers.registry, web=offers.web)
        )
        self._guests.append(found)
        self._current = found[0]
        return found

    @property
    def first(self) -> tuple[Guest, Boot]:
        """The artifact's first boot."""
        return self._made("first", self._boot_first)

    def _boot_first(self) -> tuple[Guest, Boot]:
        saved = self._saved_boots()
        again = self._go_on(saved) if saved is not None and self._boots_nothing else None
        if again is not None:
            return again
        found = self._boot(self.trial.evidence)
        host = found[1].host
        if host is not None:
            (self.trial.evidence / "machine-id").write_text(machine_id(host) + "\n")
            # of a disk that was tested before, nothing is asked that does not boot
            if saved is not None and self.trial.scope.known is None:
                self._save(saved, *found)
        return found

    def _saved_boots(self) -> SavedBoots | None:
        scope = self.trial.scope
        return SavedBoots(scope.saved, self.trial) if scope.saved is not None else None

    def _go_on(self, saved: SavedBoots) -> tuple[Guest, Boot] | None:
        """Return a copy of the saved first boot; None when there is none, or it does not come back, which the
        log says.
        """
        if not self.trial.scope.restore:
            return None
        offers = self.offers
        with contextlib.ExitStack() as stack:
            try:
                found = stack.enter_context(
                    gone_on(
                        self.trial, self.trial.evidence, saved, ports=offers.ports,
                        registry=offers.registry, web=offers.web,
                    )
                )  # fmt: skip
            except (BuildError, AssertionError) as error:
                self._say(f"the saved first boot is not used, and removed: {error}")
                saved.discard()
                return None
            if found is not None:
                self._stack.push(stack.pop_all())
                self._guests.append(found)
                self._current, self.restored = found[0], True
        return found

    def _save(self, saved: SavedBoots, machine: Guest, boot: Boot) -> None:
        """Keep the first boot for later runs, once it has settled; the log says why that does not work."""
        assert boot.host is not None
        if self.trial.scope.restore and saved.there():
            return
        try:
            boot.host.wait_for_the_boot()
            with machine.frozen() as (files, key):
                saved.keep(files, key, boot.expected, boot.phases)
        except (BuildError, AssertionError) as error:
            self._say(f"the first boot is not saved: {error}")

    def _say(self, text: str) -> None:
        """Write a line into the evidence, which the plugin repeats in the log."""
        with (self.trial.evidence / SAVED).open("a") as stream:
            stream.write(" ".join(text.split()) + "\n")

    @property
    def _second(self) -> tuple[Guest, Boot, str]:
        """Another first boot of the same image, on an overlay of its own, and its machine-id. It stands still
        until it is needed again.
        """
        return self._made("second", self._boot_second)

    def _boot_second(self) -> tuple[Guest, Boot, str]:
        machine, boot = self._boot(self.trial.evidence / SECOND)
        found = machine_id(boot.host) if boot.host is not None else ""
        if boot.host is not None:
            machine.pause()
        self._current = self.first[0]
        return machine, boot, found

    @property
    def other_machine_id(self) -> str:
        """The machine-id of another host made from the same image. Raises NotTestedError when it does not
        come up.
        """
        _, boot, found = self._second
        if boot.host is None:
            raise _not_up(boot)
        return found

    def _settled(self) -> tuple[Guest, Host, Expected]:
        machine, boot = self.first
        if boot.host is None:
            raise NotTestedError("the host did not come up")
        if not self._saved:
            # more than one journey begins here
            self._not_softly = boot.host.reason_not_to_soft_reboot()
            more = self.trial.promise.older or self.trial.promise.line is not None or self._not_softly is None
            if len(self.ways) > 1 or self._kind.cannot_layer is None or more:
                boot.host.wait_for_the_boot()
                machine.save()
            self._saved = True
        return machine, boot.host, boot.expected

    def journey(self, way: str) -> Journey:
        """The journey of the first guest; another way's begins with a copy of the settled first boot."""
        return self._once(way, "", fresh=way != self.ways[0].name)

    def fresh_journey(self, way: str) -> Journey:
        """A journey of a host that has never been anywhere: the second guest, or a copy of the settled first
        boot.
        """
        if way != self.ways[0].name:
            return self._once(way, "fresh", fresh=True)
        # an image that does not come up is not booted a second time
        self._settled()
        if "fresh" not in self._journeys:
            # one guest at a time: the first has nothing more to do
            first = self.first[0]
            first.pause()
            machine, boot, _ = self._second
            if boot.host is None:
                raise _not_up(boot)
            machine.resume()
            self._current = machine
            self._journeys["fresh"] = Journey(
                boot.host, boot.expected, self.releases, self.trial.evidence / "journey-fresh.log"
            )
        return self._journeys["fresh"]

    def slept_journey(self, way: str, release: str) -> Journey:
        """A journey of a host that has an older release, by the name of its cell: a copy of the settled first
        boot.
        """
        return self._once(way, f"slept-{release}", fresh=True)

    def line_journey(self, way: str) -> Journey:
        """A journey of a host of the release line before: a copy of the settled first boot."""
        return self._once(way, "line", fresh=True)

    def soft_journey(self, way: str) -> Journey:
        """A journey of a host that is rebooted softly: a copy of the settled first boot. Raises
        NotApplicableError for a host that cannot be.
        """
        self._settled()
        if self._not_softly is not None:
            raise NotApplicableError(self._not_softly)
        return self._once(way, "soft", fresh=True)

    def layering(self, way: str) -> Journey:
        """A journey for layered packages: a copy of the settled first boot."""
        if self._kind.cannot_layer is not None:
            raise UnavailableError(f"layering: {self._kind.cannot_layer}")
        return self._once(way, "layering", fresh=True)

    def _once(self, way: str, name: str, *, fresh: bool) -> Journey:
        label = "-".join(filter(None, (name, *(way.split() if way != self.ways[0].name else ()))))
        if label not in self._journeys:
            releases = self.releases
            machine, host, expected = self._settled()
            if fresh:
                for journey in self._journeys.values():
                    journey.over = journey.over or journey.host is host
                if "second" in self._made:
                    self._second[0].pause()
                with contextlib.suppress(BuildError, AssertionError):
                    # of the boot that ends here, without a reboot
                    host.journals.append(host.journal("-o", "short-monotonic"))
                machine.fresh_copy(label)
                self._current = machine
            host.commands = next(each for each in self.ways if each.name == way)
            log = self.trial.evidence / f"journey{'-' if label else ''}{label}.log"
            journey = Journey(host, expected, releases, log, label=label + "-" if label else "")
            if not name:
                self._cut_power(journey, machine, label)
            self._journeys[label] = journey
        return self._journeys[label]

    def _cut_power(self, journey: Journey, machine: Guest, label: str) -> None:
        """Have the journey's upgrade recorded, and what a power cut would leave of it looked at."""
        dashed = f"-{label}" if label else ""
        cuts = PowerCuts(self.trial, self._work / f"recording{dashed}", dashed, self.offers.ports)
        journey.recorded = lambda: cuts.recorded(machine)
        journey.cut = lambda gone: cuts.survive(machine, gone)

    def read_changed(self, path: str, checksum: str) -> ReadAgain:
        """Boot a copy of the first guest's disk on which an object was changed, and read the file that has
        it. Raises NotTestedError, RigError.
        """
        return read_changed(self.trial, self._work, self.first[0], path, checksum, self.offers.ports)

    @property
    def served(self) -> ServedFacts:
        """What another first boot makes of a network with servers of names and time. Raises NotTestedError,
        RigError.
        """
        return self._made("served", self._look_at_served)

    def _look_at_served(self) -> ServedFacts:
        machine, boot = self.first
        # an image that does not come up is not booted again
        if boot.host is None:
            raise NotTestedError("the host did not come up")
        machine.pause()
        try:
            return look_at_served_guest(self.trial, self._work)
        finally:
            machine.resume()

    @functools.cached_property
    def packages(self) -> str:
        """The URL of a repository with one package for layering. Raises BuildError when none can be made
        here.
        """
        return make_packages(self._work)

    def screenshot(self, name: str) -> None:
        """Keep what the screen of the guest in use shows."""
        if self._current is not None:
            self._current.screenshot(name)

    def starved(self) -> str | None:
        """Return what says that the guest in use did not get its processors; None when it did, or nobody
        knows.
        """
        return self._current.starved() if self._current is not None else None

    def access(self) -> GuestAccess | None:
        """Return how a person gets at the guest in use; None when there is none."""
        return self._current.access() if self._current is not None else None

    def take_notes(self) -> str:
        """Return what has happened to the rig since this was asked last."""
        notes = [note for machine, _ in self._guests for note in machine.notes]
        for machine, _ in self._guests:
            machine.notes.clear()
        return "; ".join(notes)

    def records(self) -> Records:
        """Return what all boots so far have written; a host that is silent by now is named, and its console
        counts all the same.
        """
        journals, silent = [], []
        for machine, boot in self._guests:
            if boot.host is None:
                continue
            journals += boot.host.journals
            try:
                machine.resume()
                journals.append(boot.host.journal("-o", "short-monotonic"))
            except (BuildError, AssertionError) as error:
                silent.append(str(error))
        (self.trial.evidence / "journals.txt").write_text("\n".join(journals))
        consoles = plain("\n".join(machine.consoles() for machine, _ in self._guests))
        return Records(consoles=consoles, journals="\n".join(journals), silent="; ".join(silent))


def earlier_of(trial: Trial) -> Earlier:
    """Return what a trial's hosts come from, besides the release before."""
    promise = trial.promise
    bases = [each for each in (promise.previous, promise.line) if each is not None and each.delta]
    return Earlier(
        slept={release.name: release.served for release in promise.older},
        line=promise.line.served if promise.line is not None else None,
        deltas=dict(zip([base.commit for base in bases], trial.scope.deltas, strict=True)),
    )


def _not_up(boot: Boot) -> NotTestedError | RigError:
    text = f"the second host did not come up: {boot.problem}"
    return RigError(text) if boot.rig else NotTestedError(text)


def machine_id(host: Host) -> str:
    """Return a host's machine-id(5)."""
    return (host.read("/etc/machine-id") or "").strip()
