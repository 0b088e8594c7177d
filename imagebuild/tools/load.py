"""How much of the build host a program gets: what it ran, and what it waited for a processor.

Linux, Documentation/scheduler/sched-stats.rst: /proc/PID/task/TID/schedstat holds nanoseconds on a processor,
nanoseconds waiting on a run queue, and a count. Where the kernel does not count that (gVisor), nothing ever
waits, and time is what the clock says.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from imagebuild import steplog

# thread -> seconds run, seconds waited
Threads = Mapping[str, tuple[float, float]]
# who wants less of a processor than this is idle, whatever it waits for
IDLE_SHARE = 0.05
LOOK_SECONDS = 10.0
QUIET_SECONDS = 900.0
# how much of the processors that a guest may use must be free for it
FREE_SHARE = 0.7


def cpu_seconds(pid: int) -> float:
    """Return the CPU time (user and system) that a process has cost so far, its dead threads too; 0 when it
    is gone.
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def read_threads(pid: int) -> dict[str, tuple[float, float]]:
    """Return what each thread of a process ran and waited, in seconds; empty where the kernel does not count
    it.
    """
    threads = {}
    for directory in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            ran, waited, _ = (directory / "schedstat").read_text().split()
            threads[directory.name] = (int(ran) / 1e9, int(waited) / 1e9)
    return threads


class Meter:
    """Follows a process; `seconds` is the time that it really had.

    A second in which it waited half of the time that it wanted to run counts half: a limit in these seconds
    is one of a quiet machine.
    """

    def __init__(self, read: Callable[[], Threads], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._threads, self._then = dict(read()), clock()
        self.ran, self.waited, self.seconds, self.wall = 0.0, 0.0, 0.0, 0.0

    def look(self) -> None:
        """Take the time since the last look into account."""
        threads, now = dict(self._read()), self._clock()
        before = {thread: self._threads.get(thread, (0.0, 0.0)) for thread in threads}
        ran = sum(max(0.0, threads[thread][0] - before[thread][0]) for thread in threads)
        waited = sum(max(0.0, threads[thread][1] - before[thread][1]) for thread in threads)
        passed = now - self._then
        idle = ran + waited <= IDLE_SHARE * passed
        self.seconds += passed if idle else passed * ran / (ran + waited)
        self.ran, self.waited, self.wall = self.ran + ran, self.waited + waited, self.wall + passed
        self._threads, self._then = threads, now

    @property
    def share_waited(self) -> float:
        """How much of the time that the process wanted to run it had to wait: 0 … 1."""
        return self.waited / (self.ran + self.waited) if self.waited else 0.0


def _free_and_all() -> tuple[float, float]:
    """Return the time that processors had nothing to do or something of low priority, and all of it (proc(5),
    /proc/stat).
    """
    counted = [float(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return counted[1] + counted[3] + counted[4], sum(counted)


def wait_for_quiet(
    cores: int,
    *,
    read: Callable[[], tuple[float, float]] = _free_and_all,
    sleep: Callable[[float], None] = time.sleep,
    limit: float = QUIET_SECONDS,
) -> bool:
    """Wait until as many processors as a guest may use are mostly free; return whether they are. At most
    `limit` seconds.
    """
    wanted = FREE_SHARE * min(cores, os.cpu_count() or 1) / (os.cpu_count() or 1)
    waited = 0.0
    while waited <= limit:
        free, whole = read()
        sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        free_now, whole_now = read()
        if whole_now > whole and (free_now - free) / (whole_now - whole) >= wanted:
            return True
        if waited == LOOK_SECONDS:
            steplog.note("the machine is busy: waiting until it is quieter")
    steplog.note(f"the machine was busy for {limit:.0f} s: going on all the same")
    return False


def available_memory() -> int:
    """Return the bytes of memory that programs could have now (proc(5), /proc/meminfo)."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
