"""Hosts on which the criteria of test_nothing_fatal.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_nothing_fatal as nothing_fatal
from imagebuild.smoke.host.expected import Records
from imagebuild.smoke.host.words import Host
from tests.smoke.criteria.cases import Case, OnHost

FATAL_LINES = (
    ("h kernel: Oops: 0000 [#1] SMP\n", "tripped over itself"),
    ("h kernel: BUG: unable to handle page fault\n", "tripped over itself"),
    ("h kernel: x[1]: segfault at 0 ip 00 sp 00 error 4\n", "segmentation fault"),
    ("h kernel: Out of memory: Killed process 1 (x)\n", "memory ran out"),
    ("h systemd[1]: a.service: Found ordering cycle on b.service/start\n", "in a circle"),
    ("h systemd[1]: Reached target emergency.target - Emergency Mode.\n", "emergency mode"),
    ("h kernel: XFS (dm-0): Metadata corruption detected\n", "is damaged"),
    ("h x[1]: write: No space left on device\n", "a disk was full"),
)


def _records(host: Host) -> Records:
    return Records(consoles=host.succeeds("date", "+%s"), journals=host.journal())


CASES: dict[str, Case] = {
    "nothing-fatal-was-logged": OnHost(
        run=lambda host, expected: nothing_fatal.test_nothing_fatal_was_logged(_records(host), expected),
        broken=[
            *(({"journalctl": line}, reason) for line, reason in FATAL_LINES),
        ],
    ),
}
