"""The disks that a kickstart names: there is one to install on, and all that is said of disks must be about
that one.

pykickstart 3.78: part --ondisk (--ondrive), ignoredisk --only-use, clearpart --drives, bootloader
--boot-drive and --driveorder. What names a partition or a BIOS number (--onpart, --usepart, --onbiosdisk) is
refused as an option.
"""

from collections.abc import Iterator
from typing import Any

from imagebuild.kickstart.problems import Problems


def refuse(handler: Any, problems: Problems) -> None:
    """Refuse several disks, and partitions of a named disk beside others that may lie anywhere."""
    seen: list[str] = []
    for name, line in _named(handler):
        if name not in seen:
            seen.append(name)
            if len(seen) == 2:
                problems.add(line, f"several disks are named ({', '.join(seen)}); imagebuild installs on one")
    parts = handler.partition.partitions
    beside = [part for part in parts if not part.disk]
    if beside and not handler.ignoredisk.onlyuse:
        for part in (part for part in parts if part.disk):
            problems.add(
                part.lineno,
                f"part {part.mountpoint} --ondisk={part.disk}: other parts name no disk"
                f" ({beside[0].mountpoint}), and may lie on another one",
                "name the same disk for all parts, or none, or say `ignoredisk --only-use=DISK`",
            )


def _named(handler: Any) -> Iterator[tuple[str, int]]:
    """Yield every disk's name with a line that has it, without /dev/."""
    loader = handler.bootloader
    found = [(name, handler.ignoredisk.lineno) for name in handler.ignoredisk.onlyuse]
    found += [(name, handler.clearpart.lineno) for name in handler.clearpart.drives]
    found += [
        (name, loader.lineno)
        for name in (getattr(loader, "bootDrive", ""), *(getattr(loader, "driveorder", None) or ()))
        if name
    ]
    found += [(part.disk, part.lineno) for part in handler.partition.partitions if part.disk]
    for name, line in sorted(found, key=lambda pair: pair[1]):
        yield name.removeprefix("/dev/"), line
