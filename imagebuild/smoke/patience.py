"""How long a program on a guest is waited for: time is what the guest had of its processors."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from imagebuild.smoke.boot import PATIENCE
from imagebuild.tools import ssh
from imagebuild.tools.qemu.running import Running

# for so long a program may neither print nor let the guest's processors do anything; what is waited for then
# does not depend on their speed
IDLE_SECONDS = 180.0
# what a guest with nothing to do costs, of one processor
IDLE_SHARE = 0.1


@dataclass
class Waiting:
    """One program that is waited for. One on a guest that does nothing is given up early."""

    running: Running
    timeout: float
    begun: float = 0.0
    since: float = 0.0
    printed: int = 0
    cpu: float = 0.0
    until: float = 0.0

    def __post_init__(self) -> None:
        self.running.meter.look()
        self.since = self.begun = time.monotonic()
        self.cpu = self._used()
        self.until = self.running.meter.seconds + self.timeout

    def _used(self) -> float:
        # who waits for a processor wants to do something
        return self.running.cpu_seconds() + self.running.meter.waited

    def over(self, printed: int) -> str | None:
        """Return why it is given up, None when it is not, by how much it has printed (ssh.Patience)."""
        meter = self.running.meter
        meter.look()
        now, used = time.monotonic(), self._used()
        if printed != self.printed or used - self.cpu > IDLE_SHARE * (now - self.since) + 1:
            self.since, self.printed, self.cpu = now, printed, used
        if now - self.since > IDLE_SECONDS:
            return (
                f"{ssh.NO_ANSWER}: for {now - self.since:.0f} s it neither printed anything nor used the"
                " guest's processors"
            )
        late = meter.seconds > self.until or now - self.begun > PATIENCE * self.timeout
        return f"{ssh.NO_ANSWER} within {now - self.begun:.0f} s" if late else None


def patience_with(running: Running, timeout: float) -> Callable[[int], str | None]:
    """Begin to wait for a program; return what says why it is given up (ssh.Patience)."""
    return Waiting(running, timeout).over
