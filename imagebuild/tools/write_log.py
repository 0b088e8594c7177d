"""Logs of what was written to a disk: QEMU's `blklogwrites` and Linux' dm-log-writes share one format.

Sources: Linux, drivers/md/dm-log-writes.c (struct log_write_super, struct log_write_entry, log_one_block);
QEMU 10.0, block/blklogwrites.c (blk_log_writes_co_do_log); xfstests, src/log-writes/log-writes.c, which reads
it. All numbers are little-endian. The first sector is the super block; then comes for each request one sector
that begins with its entry, followed by the data, which discards, flushes and marks do not have.

A log comes from a guest's writes, and may be cut short: nothing in it is believed before it was checked.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError

SUPER = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK, METADATA = 1, 2, 4, 8, 16
KNOWN = FLUSH | FUA | DISCARD | MARK | METADATA
# what QEMU accepts (blk_log_writes_sector_size_valid), and no disk has smaller ones
SMALLEST_SECTOR, LARGEST_SECTOR = 512, 1 << 23
MOST_ENTRIES = 1 << 24


class WriteLogError(BuildError):
    """A log of writes is not what QEMU or Linux write."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request to a disk: `start` and `size` are bytes on the disk, `data` is where in the log its content
    lies (None: it has none). `flush`: whatever was done before is on the disk from then on; `fua`: this write
    is.
    """

    number: int
    start: int
    size: int
    data: int | None
    flush: bool
    fua: bool
    discard: bool


@dataclass(frozen=True, kw_only=True)
class WriteLog:
    """A log that was read: its file, the bytes of a sector, and the requests in the order in which they were
    done.
    """

    file: Path
    sector: int
    requests: tuple[Request, ...]

    def flushes(self) -> list[int]:
        """Return the numbers of the requests that made everything before them last."""
        return [request.number for request in self.requests if request.flush]

    def bytes_written(self) -> int:
        """Return how much was written, one on top of the other."""
        return sum(request.size for request in self.requests if request.data is not None)


def read(file: Path, *, disk_size: int) -> WriteLog:
    """Read the log of a disk of so many bytes. Raises WriteLogError, naming the entry, for what it cannot be:
    a file cut short, sectors outside of the disk, flags that nobody knows.
    """
    with file.open("rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        head = stream.read(SUPER.size)
        if len(head) < SUPER.size:
            raise WriteLogError(f"{file.name} cannot be a log of writes: it has {len(head)} bytes")
        magic, version, count, sector = SUPER.unpack(head)
        _check_super(file, magic, version, count, sector, end)
        requests, place = [], sector
        for number in range(count):
            stream.seek(place)
            request, taken = _read_entry(file, number, stream.read(ENTRY.size), sector, place)
            place += taken
            if place > end:
                raise WriteLogError(
                    f"{file.name} is cut short: entry {number} of {count} ends at {place}, the file at {end}"
                )
            if request.start + request.size > disk_size:
                raise WriteLogError(
                    f"{file.name}, entry {number}: {request.size} bytes at {request.start} are outside of a"
                    f" disk of {disk_size} bytes"
                )
            requests.append(request)
    return WriteLog(file=file, sector=sector, requests=tuple(requests))


def _check_super(file: Path, magic: int, version: int, count: int, sector: int, end: int) -> None:
    if magic != MAGIC:
        raise WriteLogError(f"{file.name} cannot be a log of writes: it begins with {magic:#x}")
    if version != VERSION:
        raise WriteLogError(f"{file.name} is a log of writes of version {version}: only {VERSION} is known")
    if not SMALLEST_SECTOR <= sector <= LARGEST_SECTOR or sector & (sector - 1):
        raise WriteLogError(f"{file.name} has sectors of {sector} bytes")
    # each entry takes a sector at least
    if count > min(MOST_ENTRIES, end // sector):
        raise WriteLogError(f"{file.name} is cut short: it has {end} bytes, and should hold {count} entries")


def _read_entry(file: Path, number: int, head: bytes, sector: int, place: int) -> tuple[Request, int]:
    """Return a request, and how many bytes of the log it takes."""
    if len(head) < ENTRY.size:
        raise WriteLogError(f"{file.name} is cut short: entry {number} is not there")
    first, count, flags, _ = ENTRY.unpack(head)
    if flags & ~KNOWN:
        raise WriteLogError(
            f"{file.name}, entry {number}: flags {flags:#x} are unknown",
            hint="QEMU before 8.2.1 spoils its log at `write zeroes`; record with a newer one",
        )
    if flags & MARK:
        first = count = 0
    has_data = bool(count) and not flags & DISCARD
    request = Request(
        number=number,
        start=first * sector,
        size=count * sector,
        data=place + sector if has_data else None,
        flush=bool(flags & FLUSH),
        fua=bool(flags & FUA) and has_data,
        discard=bool(flags & DISCARD),
    )
    return request, sector + (count * sector if has_data else 0)
