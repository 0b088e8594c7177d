"""The machine that builds, and what steps take of it."""

import json
import platform
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path

from imagebuild.architectures.registry import guest_of
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.steps import Cost
from imagebuild.errors import MissingToolError
from imagebuild.kinds import Firmware
from imagebuild.release_line.model import Config
from imagebuild.smoke.trial import guest_tools
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.elsewhere import other_machine
from imagebuild.tools.qemu.registry import FIRMWARES

MIB = 1024 * 1024
# of steps that only the machine can do that the build is asked of
AT_ORIGIN = Cost(needs=(ORIGIN,))
# of one test at a time, whether they run or stand still: each has its memory
MACHINES = 3


@dataclass(frozen=True, kw_only=True)
class Builder:
    """What the machine can do: where pulled commits lie, the ways to populate disks, the accelerator of
    guests; and the time.

    `cells` is where finished cells of verdicts are kept, `saved` where settled first boots are;
    `cells_remote` the address of the store in which cells are shared. `today` decides which waivers still
    count, `arch` is the architecture of the trees.
    """

    repo: Path
    populate: tuple[str, ...]
    accelerator: Accelerator
    epoch: int | None = None
    cells: Path | None = None
    saved: Path | None = None
    cells_remote: str | None = None
    today: date = field(default_factory=date.today)
    arch: str = field(default_factory=platform.machine)


def tools_of_guests(builder: Builder, firmware: Firmware) -> dict[str, str]:
    """Return what runs a guest under a firmware, for keys."""
    return guest_tools(builder.accelerator, firmware) | emulated_processors(builder)


def emulated_processors(builder: Builder) -> dict[str, str]:
    """Return the processors that emulated guests may have, for keys; nothing with KVM."""
    # which of them a guest has follows from its tree
    emulated = builder.accelerator.name == "tcg"
    return {"cpu": json.dumps(guest_of(builder.accelerator.arch).processors)} if emulated else {}


def guest_cost(config: Config, builder: Builder) -> Cost:
    """Return what a test with guests takes."""
    # the second host of the image stands still to the end, the first one while a copy of its disk is booted
    cores = config.smoke.cores or builder.accelerator.cores
    return Cost(cores=cores, memory=MACHINES * (config.smoke.memory + 256) * MIB, guests=cores)


def disk_cost(builder: Builder) -> Cost:
    """Return what making a disk takes."""
    needs = needs_of_ways(builder)
    if builder.populate == ("appliance",):
        return Cost(cores=2, memory=2048 * MIB, guests=2, needs=needs)
    return Cost(cores=1, needs=needs)


def needs_of_ways(builder: Builder) -> tuple[str, ...]:
    """Return what a machine must be able to do that runs a tree's own programs, and populates disks: every
    way that may be used, since all of them are in the key.
    """
    return (f"arch-{builder.arch}", *(f"populate-{way}" for way in builder.populate))


def secure_boot_tools(arch: str) -> dict[str, str]:
    """Return what says whether a disk or an ISO of an architecture boots with Secure Boot, for keys: the
    firmware's keys are in its digest.
    """
    try:
        firmware = FIRMWARES[Firmware.UEFI_SECURE].digest(arch)
    except MissingToolError:
        firmware = "none"
    there = other_machine()
    reader = there.value("virt-firmware") if there is not None else metadata.version("virt-firmware")
    return versions("openssl") | {"uefi-secure": firmware, "virt-firmware": reader}


def versions(*programs: str) -> dict[str, str]:
    """Return the versions of programs, for keys."""
    return {program: command.version(program) for program in programs}
