"""The machine that a guest is given for a trial, and the files that are its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imagebuild.kinds import Login
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.seed import make_seed
from imagebuild.smoke.trial import Subject, Trial
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.machine import Machine

# more than a slow guest's answer is late by; less than what makes ntpd give up (1,000 s without -g)
WRONG_SECONDS = 900


@dataclass(frozen=True, kw_only=True)
class GuestFiles:
    """What a guest writes to, its disk and UEFI's variables (made when QEMU first starts), and its seed for
    cloud-init (None: it gets none).
    """

    overlay: Path
    variables: Path
    seed: Path | None


def files_in(work: Path) -> GuestFiles:
    """Return the names of a guest's files; the seed only where there is one."""
    seed = work / "seed.iso"
    return GuestFiles(
        overlay=work / "overlay.qcow2",
        variables=work / "variables.qcow2",
        seed=seed if seed.exists() else None,
    )


def make_files(trial: Trial, work: Path, expected: Expected) -> GuestFiles:
    """Make an overlay of a trial's subject, and a seed unless Vagrant's key opens it."""
    subject = trial.subject
    disk_image.make_overlay(files_in(work).overlay, subject.disk, subject.format, size=_size(subject))
    if trial.promise.terms.login is not Login.VAGRANT:
        make_seed(work, expected, trial.bench.accelerator.slowness)
    return files_in(work)


def _size(subject: Subject) -> int | None:
    """Return how large the disk is to be, when that is not its own size."""
    if not subject.grow and subject.size is None:
        return None
    return (subject.size or disk_image.virtual_size(subject.disk, subject.format)) + subject.grow


def wrong_time() -> datetime:
    """Return what the clock of a machine says that a time server is to set right: too late, since no file of
    the host may come from its future.
    """
    return datetime.now(UTC) + timedelta(seconds=WRONG_SECONDS)


def describe_machine(
    trial: Trial, files: GuestFiles, forward: Mapping[int, int], ports: Mapping[int, int], *, isolated: bool
) -> Machine:
    """Return the machine of a trial; `forward` and `ports` as Machine's `forward` and `services`."""
    bench = trial.bench
    return Machine(
        disk=files.overlay,
        controller=trial.subject.controller,
        seed=files.seed,
        firmware=bench.firmware,
        cores=bench.cores,
        memory=bench.memory,
        forward=dict(forward),
        services=ports,
        isolated=isolated,
        variables=files.variables,
    )
