"""Install a disk: the kickstart executed with the tree's own programs, natively or in the libguestfs appliance."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.deploy import appliance, bootloader, native, table
from imagebuild.deploy.execute import execute
from imagebuild.deploy.plan import Plan, plan_of
from imagebuild.deploy.target import Target
from imagebuild.errors import UsageError
from imagebuild.model import Disk, Firmware, Kickstart, Toolbox, Tree

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class DiskSpec:
    """Size in MiB, the firmware it must boot under, and the way it is populated: `native` or `appliance`."""

    size: int
    firmware: tuple[Firmware, ...]
    populate: str


@dataclass(frozen=True)
class Way:
    """One way to populate: why it cannot be used here (empty: it can), and how a target is opened."""

    unavailable: Callable[[], str]
    open: Callable[[Path, Path, Plan], AbstractContextManager[Target]]


# the cheapest first
WAYS = {"native": Way(native.unavailable, native.native_target), "appliance": Way(appliance.unavailable, appliance.appliance_target)}


def choose_way(forced: str | None) -> tuple[str, str]:
    """Return the way to populate and why. Raises UsageError when the forced one does not work here."""
    if forced is not None:
        reason = WAYS[forced].unavailable() if forced in WAYS else f"there are: {', '.join(WAYS)}"
        if reason:
            raise UsageError(f"--populate={forced} is not possible here: {reason}")
        return forced, "asked for"
    reasons = {name: way.unavailable() for name, way in WAYS.items()}
    name = next((name for name, reason in reasons.items() if not reason), None)
    if name is None:
        raise UsageError("no way to populate a disk works here", hint="; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    return name, "; ".join(f"{other}: {reason}" for other, reason in reasons.items() if reason) or "the cheapest way here"


def install_disk(out: Path, tree: Tree, toolbox: Toolbox, kickstart: Kickstart, spec: DiskSpec) -> Disk:
    """Execute the kickstart on a new raw disk. Raises BuildError, BadKickstartError (with line, or the sums that do not fit)."""
    plan = plan_of(kickstart.file, kickstart.syntax, disk_size=spec.size * MIB, firmware=frozenset(spec.firmware), seed=tree.commit)
    file = out / "disk.raw"
    steplog.note(f"populating the {spec.populate} way")
    table.write_table(file, plan)
    with WAYS[spec.populate].open(file, toolbox.image, plan) as target:
        loader = execute(plan, target, commit=tree.commit)
    bootloader.write_loader(file, plan, loader)
    return Disk(file=file, size=plan.disk_size, firmware=plan.firmware, populated=spec.populate)
