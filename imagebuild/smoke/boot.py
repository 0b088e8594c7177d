"""Watching a guest boot: how far it got, how long each phase took, and when to give up.

A boot ends with ssh's greeting; it is given up at a fatal line of the console or the screen, for lack of
progress, and for time. Time is what the guest really had of its processors (`load.Meter`): a busy machine
makes a boot long, not wrong. What is wrong with the image and what is wrong with the rig (QEMU, or a machine
that is too busy) are told apart.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.tools import registers, ssh
from imagebuild.tools.console import (
    EARLY,
    FATAL,
    TIMELESS,
    TIMER,
    Patterns,
    describe_failure,
    fatal_line,
    phase_reached,
    stalled,
    starts_quietly,
)
from imagebuild.tools.load import Meter
from imagebuild.tools.qemu.running import Running

# seconds at native speed; multiplied by the accelerator's slowness
BOOT_SECONDS = 90.0
# for a machine whose memory is read from a file: nothing boots
BACK_SECONDS = 30.0
STALL_SECONDS = 30.0
# a kernel that says nothing, as it was told, is given more: its initramfs may be at work
QUIET_SECONDS = 75.0
POLL_SECONDS = 1.0
SCREEN_SECONDS = 5.0
REGISTERS_SECONDS = 3.0
# what a guest that waits does to its disk, bytes per second
IDLE_BYTES = 4096
# by how much a busy machine may make waiting longer
PATIENCE = 3.0
# a guest that waited less than that for a processor was not held up
STARVED, STARVED_SECONDS = "the build machine is too busy", 30.0
# how much of the time it wanted to run a guest waits when it is starved: by itself, and when its kernel
# complains, too
STARVED_SHARE, COMPLAINING_SHARE = 0.5, 0.2


def console_of(running: Running) -> str:
    """Return what a guest writes to its serial console: all that most of them say."""
    return running.console()


class Movement:
    """Whether a guest still does something: on its console, on its disk, or with its processors."""

    def __init__(self, running: Running, cores: int, said: Callable[[Running], str] | None = None) -> None:
        self._running, self._cores, self._said = running, cores, said or console_of
        self._since, self._seen, self._cpu, self._bytes = 0.0, 0, 0.0, 0
        self._begun = running.meter.seconds

    def idle_seconds(self, *, processors: bool = True) -> float:
        """Return for how long nothing has moved, in seconds that the guest had; `processors`: whether busy
        ones are movement.
        """
        now, seen = self._running.meter.seconds - self._begun, len(self._said(self._running))
        cpu, moved = self._running.cpu_seconds(), self._running.io_bytes()
        passed = now - self._since
        busy = processors and cpu - self._cpu > 0.2 * passed * self._cores + 5
        if seen != self._seen or busy or moved - self._bytes > IDLE_BYTES * passed + (1 << 20):
            self._since, self._seen, self._cpu, self._bytes = now, seen, cpu, moved
        return now - self._since


@dataclass(frozen=True, kw_only=True)
class Watched:
    """How a boot went: `problem` is None when ssh answers; `phases` maps each phase to seconds since
    power-on (those of `load.Meter`).

    `rig`: the problem is the rig's, and says nothing of the image; `hung`: the guest stopped before
    userspace, on this QEMU at least.
    """

    problem: str | None
    phases: dict[str, float]
    rig: bool = False
    hung: bool = False


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a boot is over, as in `Watched`."""

    text: str
    rig: bool = False
    hung: bool = False


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is watched: its phases, what ends it at once, how long it may take (native seconds), and how to
    say that it was late or gone.

    `said` is what the guest says: its console, or that and other logs. `quiet`: its kernel says nothing
    there, and is given more time.
    """

    phase: Callable[[str], str] = phase_reached
    fatal: Patterns = FATAL
    seconds: float = BOOT_SECONDS
    late: str = "no ssh"
    gone: str = "the guest switched itself off, or asked for a reboot, during the boot"
    said: Callable[[Running], str] = console_of
    quiet: bool = False


def starvation(meter: Meter, console: str) -> str | None:
    """Return what says that a guest did not get its processors, by the machine's own count; None when it
    did.

    The kernel's complaints alone are not proof: one that spins on a quiet machine has them, too.
    """
    complaint = stalled(console)
    if meter.waited < STARVED_SECONDS or meter.share_waited < (
        COMPLAINING_SHARE if complaint else STARVED_SHARE
    ):
        return None
    text = (
        f"{STARVED}: of {meter.wall:.0f} s the guest ran {meter.ran:.0f} s and waited {meter.waited:.0f} s"
        " for a processor"
    )
    return text if complaint is None else f"{text}; its kernel says {complaint!r}"


@dataclass
class Watcher:
    """One boot that is watched; `screen` is what a BIOS guest's text screen showed last."""

    running: Running
    evidence: Path
    cores: int
    slowness: float
    course: Course = field(default_factory=Course)
    phases: dict[str, float] = field(default_factory=dict)
    screen: str = ""

    def __post_init__(self) -> None:
        self._begun, self._looked, self._before = time.monotonic(), 0.0, self.running.meter.seconds
        self._movement = Movement(self.running, self.cores, self.course.said)

    @property
    def seconds(self) -> float:
        """How long this has been watched, by the clock."""
        return round(time.monotonic() - self._begun, 1)

    @property
    def had(self) -> float:
        """How long that was for the guest, by the time it had of its processors: comparable between busy and
        quiet machines.
        """
        return round(self.running.meter.seconds - self._before, 1)

    def look(self) -> str:
        """Look at the guest once; return what its console shows."""
        self.running.meter.look()
        console = self.course.said(self.running)
        self.phases.setdefault(self.course.phase(console), self.had)
        if phase_reached(console) in EARLY[:2]:
            self._look_at_screen()
        return console

    def problem(self, console: str) -> Problem | None:
        """Return why it is over, if it is."""
        return self._fatal(console) or self._ended() or self._silent(console) or self._late(console)

    def _look_at_screen(self) -> None:
        if self.seconds - self._looked >= SCREEN_SECONDS and self.running.alive:
            self._looked = self.seconds
            text = self.running.screen_text()
            if text and text != self.screen:
                self.screen = text
                (self.evidence / "screen.txt").write_text(text + "\n")

    def _quiet(self, console: str) -> bool:
        """Whether a kernel may be at work that says nothing."""
        return self.course.quiet or starts_quietly(console)

    def _early(self, console: str) -> bool:
        """Whether busy processors are not progress yet."""
        return phase_reached(console) in EARLY and self.course.phase(console) in EARLY

    def _fatal(self, console: str) -> Problem | None:
        line = fatal_line(console, self.course.fatal) or fatal_line(self.screen, self.course.fatal)
        if line is None:
            return None
        if TIMER in line:
            return Problem(
                text=f"QEMU's timer came too late for the kernel's own check: {line}", rig=True, hung=True
            )
        timeless = line.startswith(TIMELESS) and stalled(line) is None
        starved = None if timeless else starvation(self.running.meter, console)
        return (
            Problem(text=f"{starved}; what came of it: {line}", rig=True) if starved else Problem(text=line)
        )

    def _ended(self) -> Problem | None:
        if self.running.alive:
            return None
        broke = self.running.broke()
        return Problem(text=self.course.gone) if broke is None else Problem(text=broke, rig=True)

    def _silent(self, console: str) -> Problem | None:
        early = self._early(console)
        idle = self._movement.idle_seconds(processors=not early)
        limit = (QUIET_SECONDS if self._quiet(console) else STALL_SECONDS) * self.slowness
        if idle <= limit:
            return None
        if early:
            return self._hang(console, f"nothing moved on console and disk for {idle:.0f} s")
        return self._blame(console, f"nothing moved on console, processor and disk for {idle:.0f} s")

    def _hang(self, console: str, problem: str) -> Problem:
        """Tell a guest that hangs from one that waits, by two looks at its processors."""
        texts = [self.running.registers()]
        time.sleep(REGISTERS_SECONDS)
        texts.append(self.running.registers())
        (self.evidence / "registers.txt").write_text("\n---\n".join(texts))
        first, second = (registers.read(text) for text in texts)
        spins = registers.spinning(first, second)
        text = (
            f"{problem}: {registers.describe(first, second) or 'its processors could not be looked at'}"
            " (registers.txt)"
        )
        phase = phase_reached(console)
        kernel = phase in EARLY[2:] or any(processor.in_kernel for processor in second)
        # an initramfs that waits for what does not come is the image's; a kernel that hangs is QEMU's,
        # whatever its processors do
        if spins or phase == "kernel":
            return Problem(text=text, hung=True, rig=kernel)
        return self._blame(console, text)

    def _late(self, console: str) -> Problem | None:
        budget, had = self.course.seconds * self.slowness, self.had
        # who has had less than a third by now would wait in vain for the rest of a longer time, too
        hopeless = self.seconds > budget and had < self.seconds / PATIENCE
        if had <= budget and self.seconds <= PATIENCE * budget and not hopeless:
            return None
        late = f"{self.course.late} within {self.seconds:.0f} s"
        # what began as a kernel without a word may be one that hangs
        return (
            self._hang(console, late)
            if self._quiet(console) and self._early(console)
            else self._blame(console, late)
        )

    def _blame(self, console: str, problem: str) -> Problem:
        starved = starvation(self.running.meter, console)
        return Problem(text=f"{starved}; {problem}", rig=True) if starved else Problem(text=problem)


def follow_boot(
    running: Running,
    port: int,
    evidence: Path,
    *,
    cores: int,
    slowness: float,
    serial: Path,
    course: Course = Course(),  # frozen
    greets: Callable[[int], bool] = ssh.greets,
) -> Watched:
    """Watch a boot until ssh answers at a loopback port, or until it is over. A BIOS guest's screen goes to
    `screen.txt`.
    """
    watcher = Watcher(running=running, evidence=evidence, cores=cores, slowness=slowness, course=course)
    while True:
        time.sleep(POLL_SECONDS)
        console = watcher.look()
        if fatal_line(console) is None and greets(port):
            return Watched(problem=None, phases=watcher.phases | {"ssh": watcher.had})
        problem = watcher.problem(console)
        if problem is not None:
            text = describe_failure(
                problem.text, console or watcher.screen, evidence, phase=phase_reached(console), serial=serial
            )
            return Watched(problem=text, phases=watcher.phases, rig=problem.rig, hung=problem.hung)
