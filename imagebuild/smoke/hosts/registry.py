"""The table of hosts: a new kind is a module and a line here."""

from imagebuild.kinds import HostKind
from imagebuild.smoke.hosts import HostCommands
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.smoke.hosts.rpm_ostree import RpmOstreeHost

ATOMIC = RpmOstreeHost("atomic host", ("atomic", "host"))


def commands_of(kind: HostKind, *, atomic: bool = False) -> list[HostCommands]:
    """Return the ways in which a host is told what to do, its own first; `atomic`: the tree has that command,
    too.
    """
    if kind is HostKind.OSTREE:
        return [OstreeHost()]
    return [RpmOstreeHost(), ATOMIC] if atomic else [RpmOstreeHost()]
