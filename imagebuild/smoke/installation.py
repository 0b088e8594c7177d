"""An installation in a guest: an installer ISO is booted with an empty disk, followed phase by phase, until
it has switched itself off.

The entry is started as a person would start it: which keys do that follows from the medium's own menu. Its
menu and its installer may be on the serial console (ours are), or on the screen alone (lorax'): then
Anaconda's log says how far it got.

What comes out is the disk. "The medium does not install" (`InstallationError`) and "the rig broke"
(`RigError`) are different things.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.boot import PATIENCE, POLL_SECONDS, Course, Problem, Watcher, starvation
from imagebuild.smoke.host import RigError
from imagebuild.tools import anaconda_log, command, iso, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import (
    FIRMWARE_FATAL,
    INSTALLER_FATAL,
    describe_failure,
    fatal_line,
    installer_phase,
    plain,
)
from imagebuild.tools.menus import keys as menu_keys
from imagebuild.tools.menus import medium
from imagebuild.tools.menus.keys import Plan
from imagebuild.tools.picture import Picture
from imagebuild.tools.qemu.machine import MIB, Drive, Kernel, Machine
from imagebuild.tools.qemu.running import Running, started

# seconds at native speed; multiplied by the accelerator's slowness
INSTALL_SECONDS = 400.0
# Anaconda does more, and nobody has measured how much here; one that does nothing is given up long before
ANACONDA_SECONDS = 1200.0
MENU_SECONDS = 30.0
# what shows that GRUB's menu (ours, lorax's) or isolinux' waits for a key
MENU = (
    "executed automatically",
    "Press Tab for full configuration",
    "Boot from local drive",
    "Troubleshooting",
)
LOOK_SECONDS = 0.3
# how long a picture must stand still to be a menu
SETTLED_SECONDS = 2.0
# A menu that waits reads nothing, one that has started an entry reads a kernel and its initramfs: that is
# more than any boot loader is.
# Keys are lost while a boot loader still draws (seen with GRUB 2.06 on emulated UEFI), and pressed again: it
# may count down from 60
STARTED_BYTES = 4 * MIB
REACTION_SECONDS = 5.0
# in an installation's evidence: that the machine hung and was started again
HUNG = "hung.txt"
# in the evidence: the console, beside it Anaconda's log, and how the entry was started
SERIAL, LOG, KEYS = "serial.log", "anaconda.log", "menu.txt"


def said(running: Running) -> str:
    """Return all that an installation says: its console, then what Anaconda logged."""
    log = running.places.serial.with_name(LOG)
    return running.console() + (f"\n{log.read_bytes().decode('utf-8', 'replace')}" if log.exists() else "")


def phase(text: str) -> str:
    """Return the last phase that console and log show."""
    return anaconda_log.phase(text) or installer_phase(text)


COURSE = Course(
    phase=phase,
    fatal=(*INSTALLER_FATAL, *anaconda_log.FATAL),
    seconds=INSTALL_SECONDS,
    late="not installed",
    said=said,
    gone="the machine went off before the installation was complete",
)


class InstallationError(BuildError):
    """The medium does not install."""


class HangError(RigError):
    """The machine stopped before userspace: on another QEMU it may go on."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A machine to install on: `medium` is cd, usb or virtio; `disk_size` in bytes, `drives` are further
    ones.

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
    """Switch the machine on, its console going to `serial`; the disk is made if it is not there yet. It is
    killed when the block ends.
    """
    if disk is not None and not disk.exists():
        command.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, str(bench.disk_size)])
    log = serial.with_name(LOG)
    machine = Machine(
        disk=disk,
        controller=Controller.VIRTIO,
        firmware=bench.firmware,
        cores=bench.cores,
        memory=bench.memory,
        isolated=bench.isolated,
        network=bench.network,
        kernel=bench.kernel,
        forward=dict(bench.forward),
        address=bench.address,
        drives=(Drive(file=bench.iso, kind=bench.medium, boot_first=bench.kernel is None), *bench.drives),
        typed=True,
        ports={anaconda_log.PORT: log},
    )
    try:
        with started(machine, bench.accelerator, serial) as running:
            yield running
    finally:
        if log.exists() and not log.stat().st_size:
            log.unlink()


def choose_entry(running: Running, key: str, slowness: float) -> None:
    """Press an entry's key once the boot menu is there. Raises InstallationError when it does not come."""
    wait_for(
        running,
        lambda console: any(word in console for word in MENU),
        MENU_SECONDS * slowness,
        "the boot menu",
    )
    # GRUB reads keys after it has drawn
    time.sleep(1)
    running.type(key)


@dataclass
class Looker:
    """Looks at a machine until its boot menu is there: on its console, on its text screen, or as a picture
    that stands still.

    `read`: the menu was read, on the console (`on_console`) or the text screen, and not just looked at.
    """

    running: Running
    plan: Plan
    slowness: float
    on_console: bool = False
    read: bool = False
    before: Picture | None = None
    since: float = 0.0

    def there(self, console: str) -> bool:
        """Look once more."""
        self.on_console = self.plan.seen_in(plain(console))
        # a BIOS' text screen that does not show the menu is the firmware's, or what the boot loader says
        # before
        text = "" if self.on_console else self.running.screen_text()
        self.read = self.on_console or self.plan.seen_in(text)
        if self.read or text:
            self.before = None
            return self.read
        # where the firmware speaks on the console, a menu does so, too, unless it is graphical: until then a
        # logo may stand there
        return self._still_for() >= SETTLED_SECONDS * (self.slowness if console.strip() else 1)

    def _still_for(self) -> float:
        picture = self.running.picture()
        if picture is None or picture.blank or self.before is None or not picture.like(self.before):
            self.since = time.monotonic()
        self.before = picture
        return time.monotonic() - self.since

    def came_later(self) -> bool:
        """Whether the menu can be read now for the first time: keys were pressed at what was only looked
        at.
        """
        before, self.read = (
            self.read,
            self.read
            or self.plan.seen_in(plain(self.running.console()))
            or self.plan.seen_in(self.running.screen_text()),
        )
        return self.read and not before


@dataclass
class Presser:
    """Presses a plan's keys, and again when nothing comes of it. What is there to be read is typed on the
    serial console first.
    """

    looker: Looker
    presses: int = 0
    last: float = 0.0
    before: int = 0

    def started(self, console: str) -> bool:
        """Look whether the entry was started, and press its keys when it is time to."""
        del console
        running = self.looker.running
        # keys that were pressed early may lie in the keyboard's buffer until the menu takes them: what it
        # starts may be quick
        if self.presses and anaconda_log.phase(said(running)):
            return True
        read = running.drives_read()
        if self.presses and read - self.before >= STARTED_BYTES:
            if not self.looker.came_later():
                return True
            self.presses = 0
        if not self.presses:
            self.before = read
        if not self.presses or time.monotonic() - self.last >= REACTION_SECONDS + self.looker.slowness:
            self._press()
        return False

    def _press(self) -> None:
        running, plan = self.looker.running, self.looker.plan
        if self.presses:
            steplog.note("the boot menu does not react: its keys are pressed again")
        # under UEFI any menu is on the serial console, since the firmware's own is there; only a medium that
        # uses it reads it
        if self.looker.on_console and plan.heard and plan.typed and not self.presses:
            running.type(plan.typed)
        else:
            running.press(*plan.keys)
        self.presses, self.last = self.presses + 1, time.monotonic()


def start_entry(running: Running, plan: Plan, slowness: float) -> None:
    """Start an entry as its plan says, once the menu is there. Raises InstallationError when it does not
    come, or does not react; RigError.
    """
    if not plan.keys:
        return
    looker = Looker(running, plan, slowness)
    wait_for(running, looker.there, MENU_SECONDS * slowness, "the boot menu")
    # a boot loader reads keys after it has drawn
    time.sleep(1)
    wait_for(
        running,
        Presser(looker).started,
        MENU_SECONDS * slowness,
        f"the start of {plan.title!r} by its keys ({' '.join(plan.keys)})",
    )


def wait_for(running: Running, there: Callable[[str], bool], seconds: float, what: str) -> str:
    """Wait until the console shows something and return what it shows. Raises InstallationError, RigError
    when QEMU or the machine is at fault.
    """
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
            text = (
                f"{what} did not come within {time.monotonic() - begun:.0f} s; the console ends with"
                f" {console[-300:]!r}"
            )
            if starved := starvation(meter, console):
                raise RigError(f"{starved}; {text}")
            raise InstallationError(text)
        time.sleep(LOOK_SECONDS)
    return console


def follow(
    running: Running, bench: Bench, evidence: Path, *, again: bool = False, heard: bool = True
) -> dict[str, float]:
    """Watch an installation until the machine is off; return seconds since now by phase. Ends at once on a
    fatal line.

    `heard`: the medium's kernel speaks on the serial console; of another one nothing is heard until Anaconda
    runs. Raises InstallationError, RigError when the medium is not at fault, and HangError for a hang before
    userspace (not `again`).
    """
    course = COURSE if heard else replace(COURSE, quiet=True, seconds=ANACONDA_SECONDS)
    watcher = Watcher(
        running=running,
        evidence=evidence,
        cores=bench.cores,
        slowness=bench.accelerator.slowness,
        course=course,
    )
    while True:
        time.sleep(POLL_SECONDS)
        alive = running.alive
        console = watcher.look()
        if (
            not alive
            and "complete" in watcher.phases
            and not running.broke()
            and not fatal_line(console, course.fatal)
        ):
            steplog.note(f"the installation is complete; {running.ending() or 'the machine is off'}")
            return watcher.phases | {"off": watcher.had}
        problem = watcher.problem(console)
        if problem is not None:
            raise _gave_up(running, problem, evidence, again=again)


def _gave_up(running: Running, problem: Problem, evidence: Path, *, again: bool) -> BuildError:
    running.screenshot(evidence / "screen.png")
    console = said(running)
    how = "" if running.alive else running.ending()
    text = describe_failure(
        f"{problem.text} ({how})" if how else problem.text, console, evidence, phase=phase(console)
    ).replace("the host did not come up", "the medium did not install")
    if problem.hung and not again:
        return HangError(text)
    kind = RigError if problem.rig else InstallationError
    log = f", Anaconda's log {evidence / LOG}" if (evidence / LOG).exists() else ""
    return kind(text, hint=f"the console is {evidence / SERIAL}{log}")


def install(bench: Bench, disk: Path, evidence: Path) -> dict[str, float]:
    """Install unattended through the medium's own entry; return the phases. The disk is what is left.

    A machine that hangs before userspace is started once more, with a new disk. Raises InstallationError,
    RigError.
    """
    assert bench.kernel is None, "a kernel that QEMU starts says nothing of the medium"
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
    plan = _plan_with_evidence(bench, evidence)
    with powered_on(bench, disk, evidence / SERIAL) as running:
        start_entry(running, plan, bench.accelerator.slowness)
        return follow(running, bench, evidence, again=again, heard=plan.heard)


def _plan_with_evidence(bench: Bench, evidence: Path) -> Plan:
    try:
        plan = plan_keys(bench)
    except InstallationError as error:
        (evidence / KEYS).write_text(f"{error.message}\n")
        raise
    text = f"the unattended entry {plan.title!r} is started by {' '.join(plan.keys) or 'itself'}"
    steplog.note(text)
    (evidence / KEYS).write_text(f"{text}\n")
    return plan


def plan_keys(bench: Bench) -> Plan:
    """Return how the medium's unattended entry is started under the bench's firmware. Raises
    InstallationError when it has none.
    """
    try:
        with temporary.directory("menu") as work:
            menus = medium.menus(bench.iso, work)
        if bench.firmware not in menus:
            raise InstallationError(
                f"{bench.iso.name} does not boot under {bench.firmware}: it has no boot menu for that"
            )
        return menu_keys.unattended(menus[bench.firmware], iso.volume_id(bench.iso))
    except (InstallationError, MissingToolError):
        raise
    except BuildError as error:
        raise InstallationError(
            f"{bench.iso.name} under {bench.firmware}: {error.message}", hint=error.hint
        ) from error


def main_log(evidence: Path) -> str:
    """Return the name of the file that says most of an installation."""
    return next((name for name in (LOG, SERIAL) if (evidence / name).exists()), KEYS)
