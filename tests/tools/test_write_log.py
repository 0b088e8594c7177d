"""Logs of writes: one that QEMU wrote is read, and one that lies is not believed."""

import lzma
import struct
from pathlib import Path

import pytest

from imagebuild.tools import write_log
from imagebuild.tools.write_log import DISCARD, ENTRY, FLUSH, MARK, SUPER, WriteLogError
from tests.data import DATA

SIZE = 3 << 20
SECTOR = 512


def make_log(
    file: Path, *entries: tuple[int, int, int, bytes], count: int | None = None, **head: int
) -> Path:
    """Write a log of (sector, sectors, flags, data), as QEMU does (block/blklogwrites.c); `head` lies."""
    number = len(entries) if count is None else count
    values = {"magic": write_log.MAGIC, "version": 1, "count": number, "sector": SECTOR} | head
    data = SUPER.pack(*values.values()).ljust(SECTOR, b"\0")
    for sector, sectors, flags, content in entries:
        data += ENTRY.pack(sector, sectors, flags, 0).ljust(SECTOR, b"\0") + content
    file.write_bytes(data)
    return file


def test_a_log_of_qemu_is_read(tmp_path: Path) -> None:
    # QEMU 10.0.2, tests/vm/ext4_recording.py on Debian 12
    file = tmp_path / "writes.log"
    file.write_bytes(lzma.decompress((DATA / "power" / "writes.log.xz").read_bytes()))
    log = write_log.read(file, disk_size=SIZE)
    assert (len(log.requests), len(log.flushes()), log.bytes_written()) == (156, 54, 268288)
    first = log.requests[0]
    # the super block of a file system of 1 KiB blocks is its second block; ext4's magic is there
    assert (first.start, first.size, first.flush) == (1024, 1024, False)
    assert first.data is not None
    assert file.read_bytes()[first.data + 0x38 :][:2] == struct.pack("<H", 0xEF53)
    assert log.requests[1].flush
    assert log.requests[-1].flush


def test_what_has_no_data_takes_one_sector(tmp_path: Path) -> None:
    # dm-log-writes.c: a mark's text lies in the sector of its entry; a discard has no data
    file = make_log(
        tmp_path / "log",
        (0, 0, MARK, b""),
        (8, 4, DISCARD, b""),
        (0, 0, FLUSH, b""),
        (2, 1, 0, b"x" * SECTOR),
    )
    mark, discard, flush, write = write_log.read(file, disk_size=SIZE).requests
    assert (mark.data, discard.data, flush.data) == (None, None, None)
    assert (discard.start, discard.size, discard.discard) == (8 * SECTOR, 4 * SECTOR, True)
    assert flush.flush
    assert (write.start, write.data) == (2 * SECTOR, 5 * SECTOR)


@pytest.mark.parametrize(
    ("said", "entries", "lies"),
    [
        ("begins with 0x1", (), {"magic": 1}),
        ("version 2", (), {"version": 2}),
        ("sectors of 0 bytes", (), {"sector": 0}),
        ("sectors of 511 bytes", (), {"sector": 511}),
        ("sectors of 4294967295 bytes", (), {"sector": 0xFFFFFFFF}),
        ("should hold 18446744073709551615 entries", (), {"count": 2**64 - 1}),
        ("entry 1 is not there", ((0, 0, FLUSH, b""),), {"count": 2}),
        ("entry 0 of 1 ends at", ((0, 4, 0, b"x" * SECTOR),), {}),
        ("entry 0 of 1 ends at", ((0, 2**64 - 1, 0, b""),), {}),
        ("entry 0: 512 bytes at 3145728 are outside", ((SIZE // SECTOR, 1, 0, b"x" * SECTOR),), {}),
        ("are outside of a disk", ((2**64 - 1, 1, 0, b"x" * SECTOR),), {}),
        ("are outside of a disk", ((0, 2**64 - 1, DISCARD, b""),), {}),
        ("flags 0x40 are unknown", ((0, 0, 0x40, b""),), {}),
    ],
)
def test_what_no_qemu_wrote_is_refused(
    tmp_path: Path, said: str, entries: tuple[tuple[int, int, int, bytes], ...], lies: dict[str, int]
) -> None:
    count = lies.pop("count", None) if "count" in lies else None
    file = make_log(tmp_path / "log", *entries, count=count, **lies)
    with pytest.raises(WriteLogError, match=said):
        write_log.read(file, disk_size=SIZE)


@pytest.mark.parametrize("kept", [0, 10, 27])
def test_a_file_that_is_hardly_there_is_refused(tmp_path: Path, kept: int) -> None:
    file = make_log(tmp_path / "log")
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(WriteLogError, match=f"has {kept} bytes"):
        write_log.read(file, disk_size=SIZE)


def test_a_log_may_be_cut_anywhere(tmp_path: Path) -> None:
    whole = lzma.decompress((DATA / "power" / "writes.log.xz").read_bytes())
    file = tmp_path / "log"
    for length in range(0, len(whole), 4099):
        file.write_bytes(whole[:length])
        with pytest.raises(WriteLogError, match=r"cut short|bytes$"):
            write_log.read(file, disk_size=SIZE)
