"""What a host was found to be on its way: at the end of a leg, and at an upgrade that it should refuse."""

from dataclasses import dataclass

from imagebuild.smoke.hosts.commands import Deployment, booted
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools.ssh import Answer


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What a host was found to be at the end of a leg, after its reboot; `deployments` in boot order.

    `insecure` says why Secure Boot is not in force, where the machine has it (None: it is, or there is none).
    `before` and `after` are files in /etc, written before and after the upgrade; `volume` is what a container
    kept there; `initramfs` is the mark of the initramfs that was booted (`ServedRelease.initramfs`).
    """

    deployments: tuple[Deployment, ...]
    before: bool
    after: bool
    var: bool
    volume: str
    hostname: str
    machine_id: str
    script_runs: tuple[int, int]
    storage: str
    units: dict[str, str]
    failed_units: tuple[str, ...]
    initramfs: str = ""
    insecure: str | None = None

    @property
    def booted(self) -> Deployment:
        """The deployment that runs."""
        return booted(self.deployments)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """How a host took an upgrade that it should refuse: its answer, and its deployments before and after."""

    answer: Answer
    before: tuple[Deployment, ...]
    after: tuple[Deployment, ...]


def other_kernel(stop: Stop, release: ServedRelease) -> str | None:
    """Return what says that the kernel and initramfs which run are not those of the release; None when they
    are.
    """
    if stop.initramfs == release.initramfs:
        return None
    runs, wanted = (
        f"the one of release {mark!r}" if mark else "one without a mark"
        for mark in (stop.initramfs, release.initramfs)
    )
    return (
        f"{release.version} runs with another initramfs, {runs} instead of {wanted}: the boot loader's menu"
        " or /boot was not changed with it"
    )
