"""An executable of a site is run in the guest, through the reboots that it asks for.

Its exit status is its answer: 0 holds, anything else does not, and 77 says that it does not apply where its
record allows that (autopkgtest, README.package-tests.rst, "skippable").
"""

import contextlib
import itertools
from dataclasses import dataclass

from imagebuild.errors import BuildError
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.programs import COMMAND_SECONDS
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.site.guest_side import CONTROL, HOME, MOST_SAID, PLACE, UNPACK, begun, installed
from imagebuild.smoke.site.record import SiteCriterion

# how often is looked before the build machine hears of it, and how many boots a criterion may ask for
LOOKS, MOST_REBOOTS = 10, 20
SKIPPED = 77
# characters of a reason
REASON = 600


@dataclass
class Run:
    """One criterion on one host."""

    site: SiteCriterion
    host: Host
    # between two looks in the guest
    pause: float = 1.0
    _said: str = ""

    def to_its_end(self) -> None:
        """Run it. Raises AssertionError with what it said when it does not hold, NotApplicableError when it
        says so itself.
        """
        program, mark = self._install(), ""
        try:
            for number in itertools.count():
                asked, _, mark = self._stretch(program, mark).partition(" ")
                if asked == "ended":
                    self._judge(int(mark))
                    return
                assert number < MOST_REBOOTS, f"it asked for more than {MOST_REBOOTS} reboots"
                self._reboot(asked, f"{self.site.name}-{number + 1}")
        finally:
            # on a host that is gone there is nothing to be cleaned, and that is said already
            with contextlib.suppress(BuildError, AssertionError):
                self.host.run("sh", CONTROL, "stop", program)

    def _install(self) -> str:
        self.host.succeeds("rm", "-rf", HOME)
        self._unpack(HOME, installed(self.site))
        return self.host.succeeds("sh", f"{HOME}/install", self.site.program.rpartition("/")[2]).strip()

    def _unpack(self, place: str, tar: bytes) -> None:
        self.host.succeeds("sh", "-c", UNPACK, "sh", place, stdin=tar, seconds=2 * COMMAND_SECONDS)

    def _stretch(self, program: str, mark: str) -> str:
        """Run it until it ends, or asks for a reboot; return which: `ended STATUS` or `KIND MARK`."""
        host = self.host
        self._unpack(PLACE, begun(self.site, program, mark))
        host.succeeds("sh", CONTROL, "start")
        over = host.patience(self.site.seconds * host.slowness)
        # each look counts as a word of it: one that sleeps may do so for as long as it has
        for looks in itertools.count():
            state = host.succeeds(
                "sh",
                CONTROL,
                "wait",
                str(LOOKS),
                str(self.pause),
                seconds=LOOKS * self.pause + COMMAND_SECONDS,
            ).strip()
            late = over(looks)
            if state == "running" and not late:
                continue
            said = host.run("sh", CONTROL, "said").output
            assert state != "full", f"it printed {MOST_SAID} MiB and did not stop: {_last(said)}"
            assert state != "running", (
                f"it did not end within {self.site.seconds / 60:.0f} native minutes: {_last(said)}"
            )
            self._said = said
            break
        return state

    def _judge(self, status: int) -> None:
        last = _last(self._said)
        if status == SKIPPED and self.site.skippable:
            raise NotApplicableError(f"it says so itself (77): {last}")
        more = ", and its record does not say that it is skippable" if status == SKIPPED else ""
        assert status == 0, f"it ended with {status}{more}: {last}"

    def _reboot(self, asked: str, name: str) -> None:
        """Do what it asked for, and wait for the host."""
        go = ("sh", CONTROL, "go")
        if asked == "reboot":
            self.host.reboot(name)
        elif asked == "reboot-prepare":
            self.host.reboot(name, by=go)
        elif asked == "soft-reboot":
            self.host.restart_userspace()
        else:
            self.host.restart_userspace(by=go)


def _last(said: str) -> str:
    """Return the end of what it printed, in one line."""
    return " ".join(said.split())[-REASON:].strip() or "it printed nothing"
