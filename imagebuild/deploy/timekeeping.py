"""Where the installed host gets its time from, told to what the tree has: chrony or systemd-timesyncd.

Sources: chrony.conf(5) (`server`, `pool`, `iburst`), timesyncd.conf(5) (NTP=, drop-ins).
"""

import shlex
from collections.abc import Sequence

SERVICES = ("chronyd", "chrony", "systemd-timesyncd", "ntpd", "ntp")
# $@: the servers
SET = """set -- SERVERS
for file in /etc/chrony.conf /etc/chrony/chrony.conf; do
if [ -e "$file" ]; then sed -i -E '/^(server|pool|peer)[[:space:]]/d' "$file"
for name; do echo "server $name iburst" >> "$file"; done; found=$file; fi
done
if [ -e /usr/lib/systemd/system/systemd-timesyncd.service ]; then
mkdir -p /etc/systemd/timesyncd.conf.d
printf '[Time]\\nNTP=%s\\n' "$*" > /etc/systemd/timesyncd.conf.d/80-kickstart.conf; found=timesyncd
fi
[ -n "${found:-}" ] || { echo 'timesource: the tree has no chrony or timesyncd' >&2; exit 1; }"""


def settings(sources: Sequence[str] | None) -> list[str]:
    """Return lines of a shell script for the deployment; sources as in the plan."""
    if sources is None:
        return []
    if sources:
        return [SET.replace("SERVERS", " ".join(shlex.quote(name) for name in sources))]
    return [
        f"if [ -e /usr/lib/systemd/system/{name}.service ]; then systemctl --quiet disable {name}.service; fi"
        for name in SERVICES
    ]
