"""The ways to populate a disk: which work on this host, which execute a plan. A new one is a module and a
line in the table.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from imagebuild.architectures.registry import DEFAULT, builder_architecture
from imagebuild.deploy import appliance, native, offline, prescript
from imagebuild.deploy.commit_files import CommitFiles
from imagebuild.deploy.target import Target
from imagebuild.errors import BuildError, UsageError
from imagebuild.kickstart.layout import SECTOR
from imagebuild.kickstart.plan import Plan, read
from imagebuild.kinds import Firmware
from imagebuild.model import Kickstart, Toolbox, Tree
from imagebuild.tools import emulation

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class DiskSpec:
    """Size in MiB, the firmware it must boot under, the ways to populate it that work here (the best first).

    `epoch`: the time of everything that is made (SOURCE_DATE_EPOCH); None: the commit's. `sector_size`: the
    logical block of the disk, in bytes.
    """

    size: int
    firmware: tuple[Firmware, ...]
    populate: tuple[str, ...]
    epoch: int | None = None
    sector_size: int = SECTOR


@dataclass(frozen=True)
class Way:
    """One way to populate: why it cannot be used here, and with a plan (None: it can), and how a target is
    opened.

    `opens`: whether it can also open a disk that was made before; `foreign`: whether programs of another
    architecture run there as they do on this machine.
    """

    unavailable: Callable[[], str | None]
    refuses: Callable[[Plan], str | None]
    open: Callable[[Path | None, Path, Plan | None], AbstractContextManager[Target]]
    opens: bool = True
    foreign: bool = True


# the best first: reproducible, then cheap, then everything
WAYS = {
    "offline": Way(offline.unavailable, offline.refuses, offline.offline_target, opens=False),
    "native": Way(native.unavailable, native.refuses, native.native_target),
    "appliance": Way(appliance.unavailable, appliance.refuses, appliance.appliance_target, foreign=False),
}


def unavailable(name: str, arch: str) -> str | None:
    """Return why a way cannot populate disks of an architecture here; None when it can."""
    way = WAYS[name]
    if not way.foreign and arch != builder_architecture():
        return f"nothing runs programs for {arch} there"
    return way.unavailable() or emulation.reason_not_to_run(arch)


def choose_ways(forced: str | None, arch: str = DEFAULT) -> tuple[tuple[str, ...], str]:
    """Return the ways to populate disks of an architecture that work here, and why not the others. Raises
    UsageError when the forced one does not work here.
    """
    if forced is not None:
        reason = unavailable(forced, arch) if forced in WAYS else f"there are: {', '.join(WAYS)}"
        if reason:
            raise UsageError(f"--populate={forced} is not possible here: {reason}")
        return (forced,), "asked for"
    if (reason := emulation.reason_not_to_run(arch)) is not None:
        raise UsageError(
            f"disks are made by the tree's own programs, which are for {arch}, and this machine cannot run"
            f" them: {reason}",
            hint=emulation.HINT,
        )
    reasons = {name: unavailable(name, arch) for name in WAYS}
    names = tuple(name for name, reason in reasons.items() if not reason)
    if not names:
        raise UsageError(
            "no way to populate a disk works here",
            hint="; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
        )
    return (
        names,
        "; ".join(f"{other}: {reason}" for other, reason in reasons.items() if reason)
        or "all ways work here",
    )


def plan_of(tree: Tree, toolbox: Toolbox, kickstart: Kickstart, spec: DiskSpec) -> Plan:
    """Return the plan of a kickstart for a disk; its %pre sections are run for that. Raises
    BadKickstartError.
    """
    name = kickstart.file.name
    expanded = prescript.expand_located(
        kickstart.file.read_text(),
        kickstart.syntax,
        lambda: WAYS[spec.populate[0]].open(None, toolbox.image, None),
        name,
        kickstart.origin,
    )
    return read(
        expanded.text,
        kickstart.syntax,
        disk_size=spec.size * MIB,
        firmware=frozenset(spec.firmware),
        seed=tree.commit,
        epoch=spec.epoch if spec.epoch is not None else tree.timestamp,
        name=name,
        origin=expanded.origin,
        refs=(tree.follows,),
        signed=kickstart.signed,
        tree=CommitFiles(tree.repo, tree.commit),
        sector_size=spec.sector_size,
        arch=tree.arch,
    )


def choose(plan: Plan, ways: Sequence[str]) -> str:
    """Return the best of the ways for a plan. Raises BuildError when none executes it."""
    reasons = {name: WAYS[name].refuses(plan) for name in ways}
    found = next((name for name, reason in reasons.items() if not reason), None)
    if found is None:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise BuildError(
            f"no way to populate works for this kickstart here ({why})",
            hint="libguestfs (the appliance) executes everything",
        )
    return found
