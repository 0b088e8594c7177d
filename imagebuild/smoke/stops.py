"""What a host was found to be on its way: at the end of a leg, and at an upgrade that it should refuse."""

from collections.abc import Mapping
from dataclasses import dataclass

from imagebuild.smoke.hosts.commands import Deployment, booted
from imagebuild.smoke.served import ServedRelease
from imagebuild.tools.ssh import Answer


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What a host was found to be at the end of a leg, after its reboot; `deployments` in boot order.

    `insecure` says why Secure Boot is not in force, where the machine has it (None: it is, or there is none).
    `before` and `after` are files in /etc, written before and after the upgrade; `volume` is what a container
    kept there; `initramfs` is the mark of the initramfs that was booted (`ServedRelease.initramfs`);
    `deltas_read` is what the host asked for below the repository's `deltas` when it went there.
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
    deltas_read: tuple[str, ...] = ()
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


@dataclass(frozen=True, kw_only=True)
class Fall:
    """How a host took a release that does not come up: what ran before it, what runs now, and after how many
    boots.
    """

    before: Deployment
    after: Deployment
    boots: int


@dataclass(frozen=True, kw_only=True)
class SoftReboot:
    """How a host came into a staged deployment without a boot: whether the kernel is the one that ran before,
    and what was found there.
    """

    same_kernel: bool
    stop: Stop


@dataclass(frozen=True, kw_only=True)
class ReadAgain:
    """What became of a host of whose repository an object was changed while it was off: `problem` says why it
    did not come up (None: it did), `answer` how the file that has this object could be read.
    """

    problem: str | None
    answer: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class Survival:
    """What became of a host whose power failed while it upgraded: of `looked_at` disks that this may leave
    (`seed`), what is wrong with their /boot (`menus`: cut -> why), and of the worst one, which was booted,
    what the host says.

    `problem`: why it did not come up (None: it did). `fsck`: what is wrong with its repository (None:
    nothing). `kept`: what was written before is there. `again`: how another upgrade went, and `next` the
    commit that would be booted after it.
    """

    looked_at: int
    seed: int
    cut: str
    menus: Mapping[str, str]
    problem: str | None = None
    booted: str = ""
    fsck: str | None = None
    kept: bool = True
    failed_units: tuple[str, ...] = ()
    again: Answer | None = None
    next: str = ""


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


def arrived(stop: Stop, commit: str, version: str, refspec: str) -> str | None:
    """Return what says that a host runs something else than a release, or would upgrade from elsewhere; None
    when it does not.
    """
    if stop.booted.commit != commit:
        return f"the host came to {stop.booted.commit}, not to {commit}"
    if stop.booted.version != version:
        return f"the host came to version {stop.booted.version!r}, not to {version!r}"
    if stop.booted.origin != refspec:
        return f"the upgraded host would upgrade from {stop.booted.origin!r}"
    return None


def without_delta(stop: Stop, *, there: bool) -> str | None:
    """Return what says that a host fetched object by object though a static delta was `there`; None when it
    did not.
    """
    if not there or stop.deltas_read:
        return None
    return "the host did not ask for the static delta that was made for it: its update is the whole tree"
