"""An installation in a guest: an installer ISO is booted with an empty disk, followed phase by phase, until it has switched itself off.

What comes out is the disk. "The medium does not install" (`InstallationError`) and "the rig broke" (`RigError`) are different things.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild import steplog
from imagebuild.boot import PATIENCE, POLL_SECONDS, Course, Problem, Watcher, starvation
from imagebuild.errors import BuildError
from imagebuild.guest import RigError
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import command, qemu
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import FIRMWARE_FATAL, INSTALLER_FATAL, describe_failure, fatal_line, installer_phase
from imagebuild.tools.qemu import MIB, Drive, Kernel, Machine, Running

# seconds at native speed; multiplied by the accelerator's slowness
INSTALL_SECONDS = 400.0
MENU_SECONDS = 30.0
# what shows that GRUB's menu (ours, lorax's) or isolinux' waits for a key
MENU = ("executed automatically", "Press Tab for full configuration", "Boot from local drive", "Troubleshooting")
UNATTENDED = "u"
LOOK_SECONDS = 0.3
# in an installation's evidence: that the machine hung and was started again
HUNG = "hung.txt"
COURSE = Course(
    phase=installer_phase, fatal=INSTALLER_FATAL, seconds=INSTALL_SECONDS, late="not installed",
    gone="the machine went off before the installation was complete",
)  # fmt: skip


class InstallationError(BuildError):
    """The medium does not install."""


class HangError(RigError):
    """The machine stopped before userspace: on another QEMU it may go on."""


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
    """Wait until the console shows something and return what it shows. Raises InstallationError, RigError when QEMU or the machine is at fault."""
    begun, meter = time.monotonic(), running.meter
    meter.look()
    until = meter.seconds + seconds
    looks = 0
    while not there(console := running.console()):
        looks += 1
        # the screen of a BIOS, every few seconds
        screen = running.screen_text() if looks % 15 == 0 else ""
        if line := fatal_line(console, FIRMWARE_FATAL) or fatal_line(screen, FIRMWARE_FATAL):
            raise InstallationError(f"{what} did not come: {line}")
        if not running.alive:
            if broke := running.broke():
                raise RigError(broke)
            raise InstallationError(f"the machine went off before {what} came: {console[-300:]!r}")
        meter.look()
        if meter.seconds > until or time.monotonic() - begun > PATIENCE * seconds:
            text = f"{what} did not come within {time.monotonic() - begun:.0f} s; the console ends with {console[-300:]!r}"
            if starved := starvation(meter, console):
                raise RigError(f"{starved}; {text}")
            raise InstallationError(text)
        time.sleep(LOOK_SECONDS)
    return console


def follow(running: Running, bench: Bench, evidence: Path, *, again: bool = False) -> dict[str, float]:
    """Watch an installation until the machine is off; return seconds since now by phase. Ends at once on a fatal line.

    Raises InstallationError, RigError when the medium is not at fault, and HangError for a hang before userspace (not `again`).
    """
    watcher = Watcher(running=running, evidence=evidence, cores=bench.cores, slowness=bench.accelerator.slowness, course=COURSE)
    while True:
        time.sleep(POLL_SECONDS)
        alive = running.alive
        console = watcher.look()
        if not alive and "complete" in watcher.phases and not running.broke():
            return watcher.phases | {"off": watcher.had}
        problem = watcher.problem(console)
        if problem is not None:
            raise _gave_up(running, problem, evidence, again=again)


def _gave_up(running: Running, problem: Problem, evidence: Path, *, again: bool) -> BuildError:
    running.screenshot(evidence / "screen.png")
    console = running.console()
    text = describe_failure(problem.text, console, evidence, phase=installer_phase(console)).replace(
        "the host did not come up", "the medium did not install"
    )
    if problem.hung and not again:
        return HangError(text)
    kind = RigError if problem.rig else InstallationError
    return kind(text, hint=f"the console is {evidence / 'serial.log'}")


def install(bench: Bench, disk: Path, evidence: Path) -> dict[str, float]:
    """Install unattended through the medium's own entry; return the phases. The disk is what is left.

    A machine that hangs before userspace is started once more, with a new disk. Raises InstallationError, RigError.
    """
    try:
        phases = _install(bench, disk, evidence)
    except HangError as error:
        steplog.note(f"the machine hung, and is started again by another QEMU: {error.message}")
        for file in [file for file in evidence.iterdir() if file.is_file()]:
            file.rename(file.with_stem(f"{file.stem}-hung"))
        (evidence / HUNG).write_text(error.message + "\n")
        disk.unlink()
        phases = _install(bench, disk, evidence, again=True)
    (evidence / "phases.json").write_text(json.dumps(phases, indent=1) + "\n")
    return phases


def _install(bench: Bench, disk: Path, evidence: Path, *, again: bool = False) -> dict[str, float]:
    with powered_on(bench, disk, evidence / "serial.log") as running:
        choose_entry(running, UNATTENDED, bench.accelerator.slowness)
        return follow(running, bench, evidence, again=again)
