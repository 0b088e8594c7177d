"""What all units of the host are doing, read by one program: which restart, and which never come to rest."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from imagebuild.smoke.boot import POLL_SECONDS
from imagebuild.smoke.host.units import Units

# what a unit, or a job, is given to come to rest after the boot (native seconds)
REST_SECONDS = 30.0
# one restart may be a start that came too early; systemd's own limit is five within ten seconds
RESTARTS = 2
# org.freedesktop.systemd1(5), ActiveState: states on the way to another
ON_THE_WAY = ("activating", "deactivating", "reloading", "refreshing")
PROPERTIES = "Id,ActiveState,SubState,NRestarts"
# NRestarts is younger (systemd 235) than many hosts: their journal says what it would count
LOOK = f"""# what units do
export LC_ALL=C
shown=$(systemctl show '*' --property={PROPERTIES} | head -c 1048576)
printf '%s\\n=jobs\\n' "$shown"
systemctl list-jobs --no-legend --no-pager --full | head -c 65536
printf '=restarts\\n'
case $shown in *NRestarts=*) ;; *)
    journalctl -b -o cat --no-pager _PID=1 | grep -E 'scheduling restart|Scheduled restart job' | tail -n 200
esac
"""
# systemd 233 and 252: "a.service: Service hold-off time over, scheduling restart." and "a.service: Scheduled
# restart job, restart counter is at 1."
RESTARTED = re.compile(r"(\S+\.service): .*(?:scheduling restart|Scheduled restart job)")
# systemctl list-jobs: number, unit, kind, state
JOB = re.compile(r"\s*\d+\s+(\S+)\s+([a-z-]+)\s+(waiting|running)\s*")


@dataclass(frozen=True, kw_only=True)
class Unrest:
    """Of units that are not at rest: how often each was restarted, and what each waits for."""

    restarts: Mapping[str, int]
    waiting: Mapping[str, str]


class UnitStates(Units):
    """The state of all units at once."""

    def unrest(self) -> Unrest:
        """Return what is restless now."""
        return read_unrest(self.succeeds("sh", "-c", LOOK))

    def lasting_unrest(self) -> Unrest:
        """Return what is still restless after the boot, and after all had time to come to rest."""
        over, asked = self.patience(REST_SECONDS * self.slowness), 0
        found = self.unrest()
        waiting = dict(found.waiting)
        while waiting and over(asked) is None:
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
            asked += 1
            found = self.unrest()
            waiting = {name: how for name, how in found.waiting.items() if name in waiting}
        return Unrest(restarts=found.restarts, waiting=waiting)


def read_unrest(text: str) -> Unrest:
    """Return what LOOK's output says; lines of another form are passed over."""
    shown, _, rest = text.partition("\n=jobs\n")
    jobs, _, journal = rest.partition("=restarts\n")
    units = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.split("\n\n")]
    restarts = Counter(match[1] for line in journal.splitlines() if (match := RESTARTED.match(line)))
    waiting = {}
    for unit in units:
        name = unit.get("Id", "")
        if (count := unit.get("NRestarts", "0")).isdecimal() and int(count):
            restarts[name] = int(count)
        # a device that nobody has announced yet is "activating (tentative)" for as long as it is mounted
        if unit.get("ActiveState") in ON_THE_WAY and not name.endswith(".device"):
            waiting[name] = f"{unit['ActiveState']} ({unit.get('SubState', '')})"
    for job in filter(None, map(JOB.fullmatch, jobs.splitlines())):
        waiting.setdefault(job[1], f"its {job[2]} job is {job[3]}")
    return Unrest(restarts=restarts, waiting=waiting)
