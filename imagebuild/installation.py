"""An installation in a guest: an installer ISO is booted with an empty disk, followed phase by phase, until it has switched itself off.

What comes out is the disk. "The medium does not install" (`InstallationError`) and "the rig broke" (`RigError`) are different things.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.boot import POLL_SECONDS, STALL_SECONDS, Movement
from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import command, qemu
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import INSTALLER_FATAL, describe_failure, fatal_line, installer_phase
from imagebuild.tools.qemu import MIB, Drive, Kernel, Machine, Running

# seconds at native speed; multiplied by the accelerator's slowness
INSTALL_SECONDS = 400.0
MENU_SECONDS = 30.0
# what shows that GRUB's menu (ours, lorax's) or isolinux' waits for a key
MENU = ("executed automatically", "Press Tab for full configuration", "Boot from local drive", "Troubleshooting")
UNATTENDED = "u"


class InstallationError(BuildError):
    """The medium does not install."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A machine to install on: `medium` is cd, usb or virtio; `disk_size` in bytes, `drives` are further ones.

    `kernel` is started instead of what the medium's menu offers.
    """

    iso: Path
    firmware: Firmware
    accelerator: Accelerator
    cores: int = 2
    memory: int = 2048 * MIB
    disk_size: int = 8192 * MIB
    medium: str = "cd"
    drives: tuple[Drive, ...] = ()
    isolated: bool = True
    network: bool = True
    forward: Mapping[int, int] = field(default_factory=dict)
    address: str = ""
    kernel: Kernel | None = None


@contextlib.contextmanager
def powered_on(bench: Bench, disk: Path | None, serial: Path) -> Iterator[Running]:
    """Switch the machine on, its console going to `serial`; the disk is made if it is not there yet. It is killed when the block ends."""
    if disk is not None and not disk.exists():
        command.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, str(bench.disk_size)])
    machine = Machine(
        disk=disk, controller=Controller.VIRTIO, firmware=bench.firmware, cores=bench.cores, memory=bench.memory, isolated=bench.isolated,
        network=bench.network, kernel=bench.kernel, forward=dict(bench.forward), address=bench.address,
        drives=(Drive(file=bench.iso, kind=bench.medium, boot_first=bench.kernel is None), *bench.drives), typed=True,
    )  # fmt: skip
    with qemu.started(machine, bench.accelerator, serial) as running:
        yield running


def choose_entry(running: Running, key: str, slowness: float) -> None:
    """Press an entry's key once the boot menu is there. Raises InstallationError when it does not come."""
    wait_for(running, lambda console: any(word in console for word in MENU), MENU_SECONDS * slowness, "the boot menu")
    # GRUB reads keys after it has drawn
    time.sleep(1)
    running.type(key)


def wait_for(running: Running, there: Callable[[str], bool], seconds: float, what: str) -> str:
    """Wait until the console shows something and return what it shows. Raises InstallationError."""
    deadline = time.monotonic() + seconds
    while not there(console := running.console()):
        if not running.alive:
            raise InstallationError(f"the machine went off before {what} came: {running.complaint().strip()[-300:] or console[-300:]!r}")
        if time.monotonic() > deadline:
            raise InstallationError(f"{what} did not come within {seconds:.0f} s; the console ends with {console[-300:]!r}")
        time.sleep(0.3)
    return console


def follow(running: Running, bench: Bench, evidence: Path) -> dict[str, float]:
    """Watch an installation until the machine is off; return seconds since now by phase. Raises InstallationError, and ends at once on a fatal line."""
    begun = time.monotonic()
    slowness = bench.accelerator.slowness
    phases: dict[str, float] = {}
    movement = Movement(running, bench.cores)
    while True:
        time.sleep(POLL_SECONDS)
        now, console = time.monotonic(), running.console()
        phases.setdefault(installer_phase(console), round(now - begun, 1))
        if not running.alive:
            if "complete" not in phases:
                raise _gave_up(
                    running, f"the machine went off before the installation was complete: {running.complaint().strip()[-300:]}", evidence
                )
            return phases | {"off": round(now - begun, 1)}
        idle = movement.idle_seconds()
        problem = fatal_line(console, INSTALLER_FATAL)
        if not problem and idle > STALL_SECONDS * slowness:
            problem = f"nothing moved on console and processor for {idle:.0f} s"
        if not problem and now - begun > INSTALL_SECONDS * slowness:
            problem = f"not installed within {now - begun:.0f} s"
        if problem:
            raise _gave_up(running, problem, evidence)


def _gave_up(running: Running, problem: str, evidence: Path) -> InstallationError:
    running.screenshot(evidence / "screen.png")
    console = running.console()
    text = describe_failure(problem, console, evidence, phase=installer_phase(console)).replace(
        "the host did not come up", "the medium did not install"
    )
    return InstallationError(text, hint=f"the console is {evidence / 'serial.log'}")


def install(bench: Bench, disk: Path, evidence: Path) -> dict[str, float]:
    """Install unattended through the medium's own entry; return the phases. The disk is what is left. Raises InstallationError."""
    with powered_on(bench, disk, evidence / "serial.log") as running:
        choose_entry(running, UNATTENDED, bench.accelerator.slowness)
        phases = follow(running, bench, evidence)
    (evidence / "phases.json").write_text(json.dumps(phases, indent=1) + "\n")
    return phases
