"""The kinds of host by name: a new one is a module and a line here, before any whose program it has, too."""

from collections.abc import Callable

from imagebuild.records import Registry
from imagebuild.smoke.hosts import ostree, rpm_ostree
from imagebuild.smoke.hosts.commands import HostRecord

HOSTS: Registry[HostRecord] = Registry("kind of host", rpm_ostree.RECORD, ostree.RECORD)


def programs() -> tuple[tuple[str, str], ...]:
    """Return each kind's name and the path that tells it, in the order in which they are looked for."""
    return tuple((record.name, record.program) for record in HOSTS.values())


def recognise(has: Callable[[str], bool]) -> HostRecord:
    """Return the first kind whose program is there, as `has` says of a path without a leading slash; the last
    kind where none is.
    """
    records = list(HOSTS.values())
    return next((record for record in records if has(record.program)), records[-1])
