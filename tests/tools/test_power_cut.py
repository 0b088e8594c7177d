"""Disks after a power cut, rebuilt from what QEMU recorded of a small ext4 file system: a journal must make
each whole again.

The sample: `tests/vm/ext4_recording.py` (Linux wrote, QEMU 10.0.2 recorded): twelve generations of a file,
each flushed before the next began.
"""

import lzma
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.tools import ext4, write_log
from imagebuild.tools.power_cut import Cut, Replay, choose_between, choose_cuts, write_requests
from imagebuild.tools.write_log import WriteLog
from tests.data import DATA

SEED = 16


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """The file system before anything was written to it."""
    file = tmp_path / "disk.raw"
    file.write_bytes(lzma.decompress((DATA / "power" / "disk.raw.xz").read_bytes()))
    return file


@pytest.fixture
def log(tmp_path: Path, disk: Path) -> WriteLog:
    """What was written."""
    file = tmp_path / "writes.log"
    file.write_bytes(lzma.decompress((DATA / "power" / "writes.log.xz").read_bytes()))
    return write_log.read(file, disk_size=disk.stat().st_size)


def rebuilt(log: WriteLog, disk: Path, cuts: list[Cut]) -> Iterator[tuple[Cut, Path]]:
    """Yield each cut with its disk."""
    replay, copy = Replay(log, disk), disk.with_name("cut.raw")
    for cut in cuts:
        replay.advance(cut.durable)
        shutil.copyfile(disk, copy)
        replay.write_rest(cut, copy)
        yield cut, copy


def generation(disk: Path) -> int:
    """Return which generation of the file is there, whole; 0 for none, -1 for one that is not whole."""
    text = ext4.read_file(disk, "/current").decode("utf-8", "replace")
    first = text.partition("\n")[0]
    if not text:
        return 0
    return int(first.split()[1]) if text == f"{first}\n" * 200 and first.startswith("generation ") else -1


def confirmed(log: WriteLog, disk: Path) -> dict[int, int]:
    """Return which generation is there after each flush, when nothing is lost."""
    copy = disk.with_name("honest.raw")
    shutil.copyfile(disk, copy)
    found = {}
    for cut, cut_disk in rebuilt(log, copy, [Cut(durable=number + 1) for number in log.flushes()]):
        assert ext4.replay(cut_disk) is None
        found[cut.durable] = generation(cut_disk)
    return found


def wrong_with(disk: Path, at_least: int) -> str | None:
    """Return what a power cut has broken; None for nothing."""
    if (said := ext4.replay(disk) or ext4.problems(disk)) is not None:
        return said
    found = generation(disk)
    return None if found >= at_least else f"generation {at_least} was flushed, and {found} is there"


def test_every_cut_leaves_a_file_system_that_its_journal_makes_whole(log: WriteLog, disk: Path) -> None:
    floors = confirmed(log, disk)
    assert set(floors.values()) == set(range(13))
    cuts = choose_cuts(log, 90, SEED)
    assert len(cuts) == 90
    assert sum(not cut.kept and not cut.lost for cut in cuts) == len(log.flushes())
    for cut, copy in rebuilt(log, disk, cuts):
        assert wrong_with(copy, floors.get(cut.durable, 0)) is None, f"seed {SEED}: {cut}"


def test_a_disk_that_lies_about_flushes_is_found_out(log: WriteLog, disk: Path) -> None:
    # one whose flushes do nothing loses writes from long ago: the same oracle must see that
    floors = confirmed(log, disk)
    lying = replace(log, requests=tuple(replace(request, flush=False) for request in log.requests))
    wrong = 0
    for cut, copy in rebuilt(lying, disk, choose_cuts(lying, 20, SEED)):
        stop = cut.durable + len(cut.kept) + cut.lost
        floor = max((floors[end] for end in floors if end <= stop), default=0)
        wrong += wrong_with(copy, floor) is not None
    assert wrong > 10


def test_all_of_it_is_the_disk_that_was_written(log: WriteLog, disk: Path) -> None:
    replay = Replay(log, disk)
    replay.advance(len(log.requests))
    assert ext4.problems(disk) is None
    assert generation(disk) == 12
    assert ext4.list_directory(disk, "/") == ["lost+found", "current"]
    with pytest.raises(ValueError, match="already"):
        replay.advance(3)


def test_the_same_seed_cuts_at_the_same_places(log: WriteLog) -> None:
    assert choose_cuts(log, 100, 1) == choose_cuts(log, 100, 1)
    assert choose_cuts(log, 100, 1) != choose_cuts(log, 100, 2)
    assert len(set(choose_cuts(log, 100, 1))) == 100


def test_few_cuts_are_spread_over_the_log(log: WriteLog) -> None:
    durable = [cut.durable for cut in choose_between(log, 3, SEED)]
    assert durable == sorted(set(durable))
    assert durable[0] < len(log.requests) // 3 < 2 * len(log.requests) // 3 < durable[2]
    assert all(cut.kept for cut in choose_between(log, 3, SEED))


def test_what_is_confirmed_is_never_left_out(log: WriteLog) -> None:
    fua = replace(log, requests=tuple(replace(request, fua=not request.flush) for request in log.requests))
    for cut in choose_cuts(fua, 200, SEED):
        assert cut.lost == 0
        assert cut.torn is None


def test_a_write_that_flushes_first_does_not_confirm_itself(log: WriteLog) -> None:
    # dm-log-writes has such entries (REQ_PREFLUSH with data), QEMU's virtio-blk does not
    writes = [replace(request, number=number) for number, request in enumerate(log.requests[2:6])]
    assert all(request.data is not None for request in writes)
    small = replace(log, requests=(*writes[:2], replace(writes[2], flush=True), writes[3]))
    cuts = choose_cuts(small, 50, SEED)
    assert {cut.durable for cut in cuts} == {0, 2}
    assert any(2 in cut.lost_numbers for cut in cuts if cut.durable == 2)


def test_a_torn_write_ends_at_a_physical_sector(log: WriteLog, tmp_path: Path) -> None:
    torn = [cut for cut in choose_cuts(log, 400, SEED) if cut.torn is not None]
    assert torn
    for cut in torn:
        last = log.requests[cut.kept[-1]]
        assert cut.torn is not None
        assert 0 < cut.torn < last.size
        assert (last.start + cut.torn) % 4096 == 0
    cut = torn[0]
    last = log.requests[cut.kept[-1]]
    empty = tmp_path / "empty.raw"
    empty.write_bytes(b"\xaa" * (3 << 20))
    write_requests(log, [last], empty, last=cut.torn)
    assert empty.read_bytes()[last.start + (cut.torn or 0) :][: log.sector] == b"\xaa" * log.sector


def test_a_log_that_shrinks_meanwhile_is_an_error(log: WriteLog, disk: Path) -> None:
    with log.file.open("r+b") as stream:
        stream.truncate(2048)
    with pytest.raises(OSError, match="shorter"):
        Replay(log, disk).advance(len(log.requests))
