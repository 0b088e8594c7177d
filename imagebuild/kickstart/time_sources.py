"""Where a host gets its time from: `timesource` (Fedora 33 and newer), and options of `timezone`."""

import re
from typing import Any

from imagebuild.kickstart import handlers
from imagebuild.kickstart.problems import Problems

# RFC 1123, section 2.1, and addresses (RFC 5952)
SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,252})")


def time_sources(handler: Any) -> tuple[str, ...] | None:
    """Return the NTP servers and pools; empty: none is asked; None: nothing is said."""
    sources = handlers.data(handler, "timesource")
    zone = handler.timezone
    servers = [each.ntp_server or each.ntp_pool for each in sources if not each.ntp_disable]
    servers += list(getattr(zone, "ntpservers", None) or [])
    if servers:
        return tuple(dict.fromkeys(servers))
    return () if any(each.ntp_disable for each in sources) or getattr(zone, "nontp", False) else None


def refuse(handler: Any, problems: Problems) -> None:
    """Refuse servers that are none, and both of servers and none at all."""
    sources = handlers.data(handler, "timesource")
    named = [(each.lineno, each.ntp_server or each.ntp_pool) for each in sources if not each.ntp_disable]
    named += [(handler.timezone.lineno, name) for name in getattr(handler.timezone, "ntpservers", None) or ()]
    for line, name in named:
        if not SERVER.fullmatch(name):
            problems.add(line, f"timesource: {name} is not a name of a server")
    for each in sources:
        if each.ntp_disable and named:
            problems.add(each.lineno, "timesource: --ntp-disable, but servers are named")
