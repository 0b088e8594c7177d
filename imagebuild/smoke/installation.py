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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.boot import POLL_SECONDS, Course, Problem, Watcher
from imagebuild.smoke.boot_menu import AgainError, InstallationError, start_entry
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.installer_log import KEYS, LOG, SERIAL, phase, said
from imagebuild.tools import anaconda_log, command, iso, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.console import (
    INSTALLER_FATAL,
    describe_failure,
    fatal_line,
)
from imagebuild.tools.menus import keys as menu_keys
from imagebuild.tools.menus import medium
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.qemu.machine import MIB, Drive, Kernel, Machine, NetworkBoot
from imagebuild.tools.qemu.running import Running, started

# seconds at native speed; multiplied by the accelerator's slowness
INSTALL_SECONDS = 400.0
# Anaconda does more, and nobody has measured how much here; one that does nothing is given up long before
ANACONDA_SECONDS = 1200.0
# in an installation's evidence: why the machine was started again
HUNG = "hung.txt"
COURSE = Course(
    phase=phase,
    fatal=(*INSTALLER_FATAL, *anaconda_log.FATAL),
    seconds=INSTALL_SECONDS,
    late="not installed",
    said=said,
    gone="the machine went off before the installation was complete",
)


class HangError(AgainError):
    """The machine stopped before userspace: on another QEMU it may go on."""


@dataclass(frozen=True, kw_only=True)
class InstallerBench:
    """A machine to install on: `medium` is cd, usb or virtio; `disk_size` in bytes, `drives` are further
    ones.

    `kernel` is started instead of what the medium's menu offers; with `network_boot` there is no medium.
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
    tpm: Path | None = None
    network_boot: NetworkBoot | None = None


@contextlib.contextmanager
def powered_on(bench: InstallerBench, disk: Path | None, serial: Path) -> Iterator[Running]:
    """Switch the machine on, its console going to `serial`; the disk is made if it is not there yet. It is
    killed when the block ends.
    """
    if disk is not None and not disk.exists():
        command.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, str(bench.disk_size)])
    log = serial.with_name(LOG)
    inserted = Drive(file=bench.iso, kind=bench.medium, boot_first=bench.kernel is None)
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
        network_boot=bench.network_boot,
        drives=bench.drives if bench.network_boot is not None else (inserted, *bench.drives),
        typed=True,
        tpm=bench.tpm,
        ports={anaconda_log.PORT: log},
    )
    try:
        with started(machine, bench.accelerator, serial) as running:
            yield running
    finally:
        if log.exists() and not log.stat().st_size:
            log.unlink()


def follow(
    running: Running, bench: InstallerBench, evidence: Path, *, again: bool = False, heard: bool = True
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
            and running.broke() is None
            and fatal_line(console, course.fatal) is None
        ):
            steplog.note(f"the installation is complete; {running.ending() or 'the machine is off'}")
            return watcher.phases | {"off": watcher.had}
        problem = watcher.problem(console)
        if problem is not None:
            raise _gave_up(running, problem, evidence, again=again)


def _gave_up(running: Running, problem: Problem, evidence: Path, *, again: bool) -> BuildError:
    running.screenshot(evidence / "screen.png")
    console = said(running)
    how = None if running.alive else running.ending()
    text = describe_failure(
        problem.text if how is None else f"{problem.text} ({how})", console, evidence, phase=phase(console)
    ).replace("the host did not come up", "the medium did not install")
    if problem.hung and not again:
        return HangError(text)
    kind = RigError if problem.rig else InstallationError
    log = f", Anaconda's log {evidence / LOG}" if (evidence / LOG).exists() else ""
    return kind(text, hint=f"the console is {evidence / SERIAL}{log}")


def install(bench: InstallerBench, disk: Path, evidence: Path) -> dict[str, float]:
    """Install unattended through the medium's own entry; return the phases. The disk is what is left.

    A machine that hangs before userspace, or whose menu did not wait, is started once more, with a new disk.
    Raises InstallationError, RigError.
    """
    assert bench.kernel is None, "a kernel that QEMU starts says nothing of the medium"
    try:
        phases = _install(bench, disk, evidence)
    except AgainError as error:
        steplog.note(f"the installation is started again, by another QEMU: {error.message}")
        for file in [file for file in evidence.iterdir() if file.is_file()]:
            file.rename(file.with_stem(f"{file.stem}-hung"))
        (evidence / HUNG).write_text(error.message + "\n")
        disk.unlink()
        phases = _install(bench, disk, evidence, again=True)
    (evidence / "phases.json").write_text(json.dumps(phases, indent=1) + "\n")
    return phases


def _install(bench: InstallerBench, disk: Path, evidence: Path, *, again: bool = False) -> dict[str, float]:
    plan = _plan_with_evidence(bench, evidence)
    with powered_on(bench, disk, evidence / SERIAL) as running:
        start_entry(running, plan, bench.accelerator.slowness)
        return follow(running, bench, evidence, again=again, heard=plan.heard)


def _plan_with_evidence(bench: InstallerBench, evidence: Path) -> KeyPresses:
    try:
        plan = plan_keys(bench)
    except InstallationError as error:
        (evidence / KEYS).write_text(f"{error.message}\n")
        raise
    text = f"the unattended entry {plan.title!r} is started by {' '.join(plan.keys) or 'itself'}"
    steplog.note(text)
    (evidence / KEYS).write_text(f"{text}\n")
    return plan


def plan_keys(bench: InstallerBench) -> KeyPresses:
    """Return how the medium's unattended entry is started under the bench's firmware. Raises
    InstallationError when it has none.
    """
    try:
        with temporary.directory("menu") as work:
            menus = medium.menus(bench.iso, work)
        # what Secure Boot starts reads the menu that UEFI does
        reads = Firmware.UEFI if bench.firmware.is_uefi else bench.firmware
        if reads not in menus:
            raise InstallationError(
                f"{bench.iso.name} does not boot under {bench.firmware}: it has no boot menu for that"
            )
        return menu_keys.unattended(menus[reads], iso.volume_id(bench.iso))
    except (InstallationError, MissingToolError):
        raise
    except BuildError as error:
        raise InstallationError(
            f"{bench.iso.name} under {bench.firmware}: {error.message}", hint=error.hint
        ) from error


def main_log(evidence: Path) -> str:
    """Return the name of the file that says most of an installation."""
    return next((name for name in (LOG, SERIAL) if (evidence / name).exists()), KEYS)
