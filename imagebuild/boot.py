"""Watching a guest boot: how far it got, how long each phase took, and when to give up.

A boot ends with ssh's greeting; it is given up at a fatal line of the console, for lack of progress, and for time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagebuild.tools import ssh
from imagebuild.tools.console import describe_failure, fatal_line, phase_reached
from imagebuild.tools.qemu import Running

# seconds at native speed; multiplied by the accelerator's slowness
BOOT_SECONDS = 90.0
STALL_SECONDS = 30.0
POLL_SECONDS = 1.0
# what a guest that waits does to its disk, bytes per second
IDLE_BYTES = 4096


class Movement:
    """Whether a guest still does something: on its console, with its processors, or on its disk."""

    def __init__(self, running: Running, cores: int) -> None:
        self._running, self._cores = running, cores
        self._since, self._seen, self._cpu, self._bytes = time.monotonic(), 0, 0.0, 0

    def idle_seconds(self) -> float:
        """Return for how long nothing has moved."""
        now, seen = time.monotonic(), len(self._running.console())
        cpu, moved = self._running.cpu_seconds(), self._running.io_bytes()
        passed = now - self._since
        busy = cpu - self._cpu > 0.2 * passed * self._cores + 5 or moved - self._bytes > IDLE_BYTES * passed + (1 << 20)
        if seen != self._seen or busy:
            self._since, self._seen, self._cpu, self._bytes = now, seen, cpu, moved
        return now - self._since


@dataclass(frozen=True, kw_only=True)
class Watched:
    """How a boot went: `problem` is empty when ssh answers; `phases` maps each phase to seconds since power-on."""

    problem: str
    phases: dict[str, float]


def follow_boot(
    running: Running, port: int, evidence: Path, *, cores: int, slowness: float, serial: Path, greets: Callable[[int], bool] = ssh.greets
) -> Watched:
    """Watch a boot until ssh answers at a loopback port, or until it is over."""
    begun = time.monotonic()
    budget, patience = BOOT_SECONDS * slowness, STALL_SECONDS * slowness
    phases: dict[str, float] = {}
    movement = Movement(running, cores)
    while True:
        time.sleep(POLL_SECONDS)
        now, console = time.monotonic(), running.console()
        phases.setdefault(phase_reached(console), round(now - begun, 1))
        problem = fatal_line(console)
        if not problem and greets(port):
            return Watched(problem="", phases=phases | {"ssh": round(now - begun, 1)})
        if not running.alive:
            problem = problem or f"QEMU ended during the boot: {running.complaint().strip()[-300:] or 'the guest switched itself off'}"
        idle = movement.idle_seconds()
        if not problem and idle > patience:
            problem = f"nothing moved on console, processor and disk for {idle:.0f} s"
        if not problem and now - begun > budget:
            problem = f"no ssh within {budget:.0f} s"
        if problem:
            return Watched(problem=describe_failure(problem, console, evidence, serial=serial), phases=phases)
