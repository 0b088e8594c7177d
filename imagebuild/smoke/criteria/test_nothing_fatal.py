"""Nothing in journal and consoles says that something broke, however well everything else went."""

import re

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.expected import Expected, Records

# what each kernel or systemd says when something broke: a pattern, and its name. Not `watchdog: BUG: soft
# lockup`: that a processor
# made no progress for 20 s says of an emulated one that the build machine was busy
FATAL = (
    (
        r"(^\[ *\d+\.\d+\] |kernel: )(Oops|BUG: |kernel BUG at|general protection fault)",
        "the kernel tripped over itself",
    ),
    (r"Kernel panic - not syncing", "the kernel panicked"),
    (r"segfault at [0-9a-f]+ ip", "a program died of a segmentation fault"),
    (r"Out of memory: Killed process|oom-kill:|invoked oom-killer", "memory ran out"),
    (r"Found ordering cycle|Breaking ordering cycle", "units depend on each other in a circle"),
    (
        r"You are in emergency mode|Reached target .*(Emergency|Rescue) Mode|Started .*Emergency Shell",
        "the host went into emergency mode",
    ),
    (r"(EXT4-fs|XFS|BTRFS)\b.*(error|corruption|Corruption)\b(?!s)", "a file system is damaged"),
    (r"No space left on device", "a disk was full"),
)


@criterion(
    group=Group.SYSTEM,
    about="Neither journals nor consoles say that something broke.",
    boots=True,
    last=True,
)
def test_nothing_fatal_was_logged(records: Records, expected: Expected) -> None:
    found = []
    for line in (records.journals + "\n" + records.consoles).splitlines():
        if any(re.search(pattern, line) for pattern in expected.terms.allowed_messages):
            continue
        found += [f"{sentence}: {line.strip()!r}" for pattern, sentence in FATAL if re.search(pattern, line)]
    assert not found, "; ".join(dict.fromkeys(found[:10]))
    if records.silent:
        raise NotTestedError(f"not every journal could be read: {records.silent}")
