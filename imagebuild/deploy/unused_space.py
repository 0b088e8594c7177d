"""What lies outside of a disk's partitions: nothing but the partition table, its copy, and boot code.

Source: UEFI Specification 2.10, 5.3 (the GPT's header, its entries, and the copies of both).
"""

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.disk_map import GPT_ENTRIES, LARGE, gaps
from imagebuild.kickstart.layout import SECTOR

CHUNK = 1 << 20
SIGNATURE = b"EFI PART"
# bytes of a header that mean something; the rest of its block must be zero (5.3.2, table 5-5)
HEADER = 92
LARGEST_ENTRY = 4096
Range = tuple[int, int]


@dataclass(frozen=True)
class _Header:
    """A GPT's header: where it lies and its copy (bytes), where its entries lie, and how long they are."""

    place: int
    other: int
    entries: int
    size: int


def problems(disk: Path) -> list[str]:
    """Return what there is on a raw disk that no partition, table or boot loader explains, a sentence for
    each gap. Raises BuildError when it has no partition table.
    """
    with disk.open("rb") as stream:
        explained = sorted(_tables(stream.fileno()))
        found = []
        for gap in gaps(disk):
            first = gap.start == 0
            # without a GPT, GRUB's core image lies there (GRUB's manual, "BIOS installation")
            if first and not explained:
                continue
            place = _first_byte(stream.fileno(), gap.start, gap.start + gap.size, explained)
            if place is not None:
                found.append(f"there is data in {gap.name}, at byte {place} of the disk")
    return found


def _tables(descriptor: int) -> list[Range]:
    """Return the ranges of the boot code, the GPT and its copy, [from, to) in bytes; none without a GPT.

    A copy whose entries are others is none.
    """
    for block in (LARGE, SECTOR):
        header = _header(descriptor, block, block)
        if header is not None:
            break
    else:
        return []
    found = [(0, header.place + HEADER), (header.entries, header.entries + header.size)]
    copy = _header(descriptor, header.other, block)
    if copy is not None and copy.size == header.size and copy.other == header.place:
        ours, theirs = (os.pread(descriptor, each.size, each.entries) for each in (header, copy))
        if ours == theirs:
            found += [(copy.place, copy.place + HEADER), (copy.entries, copy.entries + copy.size)]
    return found


def _header(descriptor: int, place: int, block: int) -> _Header | None:
    try:
        data = os.pread(descriptor, HEADER, place)
    except OSError:  # a place that no file has
        return None
    if len(data) < HEADER or not data.startswith(SIGNATURE):
        return None
    other, entries = struct.unpack_from("<Q", data, 32)[0], struct.unpack_from("<Q", data, 72)[0]
    count, length = struct.unpack_from("<II", data, 80)
    if count > GPT_ENTRIES or length > LARGEST_ENTRY or max(other, entries) * block >= 1 << 63:
        return None
    return _Header(place=place, other=other * block, entries=entries * block, size=count * length)


def _first_byte(descriptor: int, start: int, end: int, explained: Sequence[Range]) -> int | None:
    """Return where the first byte is that is neither zero nor explained; None when there is none."""
    position = start
    for begin, stop in [*explained, (end, end)]:
        found = _first_data(descriptor, position, min(begin, end))
        if found is not None:
            return found
        position = max(position, stop)
    return None


def _first_data(descriptor: int, start: int, end: int) -> int | None:
    position = start
    while position < end:
        try:
            position = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end of the file (lseek(2))
                return None
            raise
        data = os.pread(descriptor, max(0, min(CHUNK, end - position)), position)
        if rest := data.lstrip(b"\0"):
            return position + len(data) - len(rest)
        position += len(data) or end
    return None
