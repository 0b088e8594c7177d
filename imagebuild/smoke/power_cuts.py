"""A host's power fails while it upgrades: the upgrade is recorded, disks that a cut may leave are rebuilt and
looked at, and the worst is booted.

Nothing here needs root: /boot is read, and its journal replayed, by e2fsprogs; what the root file system's
journal makes of it, the host's own kernel shows.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuild.errors import BuildError
from imagebuild.smoke.boot_files import NO_ENTRY, BootFiles, find_boot_files
from imagebuild.smoke.container_units import TEST_UNITS
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.guest import Guest
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.hosts.commands import DEPLOY_SECONDS, booted
from imagebuild.smoke.recording import DISK, WRITES, record
from imagebuild.smoke.stops import Survival
from imagebuild.smoke.trial import Trial
from imagebuild.tools import ext4, temporary, write_log
from imagebuild.tools.power_cut import Cut, Replay, choose_between
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.write_log import WriteLog

if TYPE_CHECKING:
    from imagebuild.smoke.journey import Journey

# how many disks are looked at; one is booted
LOOKED_AT, SEED = 16, 1
COPIED = 1 << 20
REPO = "--repo=/sysroot/ostree/repo"


class PowerCuts:
    """One guest's upgrade, recorded in a directory of its own; `why_not` says why it was not."""

    def __init__(self, trial: Trial, place: Path, label: str, ports: dict[int, int]) -> None:
        self._trial, self._place, self._label, self._ports = trial, place, label, ports
        self.why_not: str | None = "the upgrade was not recorded"

    @contextlib.contextmanager
    def recorded(self, machine: Guest) -> Iterator[None]:
        """Record what the machine writes until the QEMU that runs now ends."""
        try:
            self._place.mkdir()
            # what was there before is on the disk
            machine.host.run("sync")
            record(machine, self._place)
            self.why_not = None
        except (BuildError, OSError) as error:
            self.why_not = f"what the host writes cannot be recorded here: {error}"
        yield

    def survive(self, machine: Guest, journey: "Journey") -> Survival:
        """Rebuild, look, and boot the worst. Raises NotTestedError, RigError."""
        if self.why_not is not None:
            raise NotTestedError(self.why_not)
        with temporary.within(self._place, "rebuilt") as work:
            whole = work / "whole.raw"
            disk_image.convert(self._place / DISK, "qcow2", whole, "raw")
            log = write_log.read(self._place / WRITES, disk_size=whole.stat().st_size)
            cuts = choose_between(log, LOOKED_AT, SEED)
            if not cuts:
                raise NotTestedError("the upgrade wrote nothing that could be lost")
            looked_at, menus, worst = look_at(log, whole, cuts, work)
            journey.host.note(
                f"# of {len(cuts)} disks after a power cut {looked_at} have a /boot to look into"
            )
            found = Survival(looked_at=looked_at, seed=SEED, cut=str(worst), menus=menus)
            disk_image.convert(self._place / DISK, "qcow2", whole, "raw")
            with Replay(log, whole).cut(worst):
                machine.pause()
                try:
                    return self._boot(whole, journey, found)
                finally:
                    machine.resume()

    def _boot(self, disk: Path, journey: "Journey", found: Survival) -> Survival:
        subject = replace(self._trial.subject, disk=disk, format="raw", size=None, grow=0)
        trial = replace(self._trial, subject=subject)
        evidence = self._trial.evidence / f"power-cut{self._label}"
        with guest(trial, evidence, ports=self._ports) as (_, boot):
            host = boot.host
            if host is None:
                if boot.rig:
                    raise RigError(f"after the power cut: {boot.problem}")
                return replace(found, problem=boot.problem)
            host.commands = journey.host.commands
            host.wait_for_the_boot()
            # the test's own units have criteria of their own
            allowed = (*self._trial.promise.terms.allowed_failed_units, *TEST_UNITS)
            fsck = host.run("ostree", "fsck", REPO, seconds=DEPLOY_SECONDS)
            found = replace(
                found,
                booted=booted(host.commands.deployments(host)).commit,
                fsck=None
                if fsck.status == 0
                else (fsck.complaint or fsck.output).strip()[-300:]
                or f"`ostree fsck` ended with {fsck.status}",
                kept=journey.kept_by(host),
                failed_units=tuple(unit for unit in host.failed_units() if unit not in allowed),
            )
            journey.releases.publish(journey.releases.next)
            answer = host.commands.upgrade(host)
            return replace(found, again=answer, next=host.commands.deployments(host)[0].commit)


def look_at(log: WriteLog, disk: Path, cuts: list[Cut], work: Path) -> tuple[int, dict[str, str], Cut]:
    """Look at the /boot of each of the disks that `disk` becomes; return how many could be looked into, what
    is wrong (cut -> why), and the worst cut: the first with something wrong, otherwise the one that lost most
    of /boot, and most of all.
    """
    replay, wrong, looked_at = Replay(log, disk), dict[str, str](), 0
    weights: dict[str, tuple[bool, bool, int, int]] = {}
    for cut in cuts:
        with replay.cut(cut) as shown:
            boot = find_boot_files(shown)
            problem, swaps = boot_problem(boot, work) if boot is not None else (None, False)
            looked_at += boot is not None
        if problem is not None:
            wrong[str(cut)] = problem
        lost = [log.requests[number] for number in cut.lost_numbers]
        inside = [request for request in lost if boot is not None and boot.start <= request.start < boot.end]
        weights[str(cut)] = (problem is not None, not swaps, len(inside), len(lost))
    return looked_at, wrong, max(cuts, key=lambda cut: weights[str(cut)])


def boot_problem(boot: BootFiles, work: Path) -> tuple[str | None, bool]:
    """Return what is wrong with a /boot after a power cut, for the boot loader and for the kernel (None for
    nothing), and whether it was being swapped: the two find another menu.

    libostree swaps it in the journal only, which GRUB does not replay, and then removes the links of the old
    one (ostree-sysroot-deploy.c, swap_bootloader; ostree-sysroot-cleanup.c): in that moment no host is safe,
    and none is booted.
    """
    early = boot.problem()
    copy = work / "boot.raw"
    _copy_part(boot, copy)
    if (said := ext4.replay(copy) or ext4.problems(copy)) is not None:
        return f"/boot is damaged: {said}", False
    replayed = BootFiles(copy, 0, boot.size, boot.prefix)
    if (said := replayed.problem()) is not None:
        return f"once the journal is replayed: {said}", False
    swaps = early == NO_ENTRY or boot.entries() != replayed.entries()
    return (f"for the boot loader: {early}" if early is not None and not swaps else None), swaps


def _copy_part(boot: BootFiles, copy: Path) -> None:
    """Copy a file system out of its disk; what is zero becomes a hole."""
    with boot.disk.open("rb") as source, copy.open("wb") as target:
        target.truncate(boot.size)
        source.seek(boot.start)
        for place in range(0, boot.size, COPIED):
            piece = source.read(min(COPIED, boot.size - place))
            if any(piece):
                target.seek(place)
                target.write(piece)
