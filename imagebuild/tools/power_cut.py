"""What a power cut may leave of a disk whose writes were logged (`write_log`).

A disk with a cache of its own has promised nothing but what a flush has confirmed: of the writes since then
any may be there, any may be missing, and one may be half there. A cut is that choice, made by a seed: the
same log, number of cuts and seed give the same disks.
"""

import contextlib
import errno
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from imagebuild.tools.write_log import Request, WriteLog

T = TypeVar("T")

CHUNK = 1 << 20
# how likely a write that nobody confirmed is there: hardly, as likely as not, nearly always
SHARES = (0.1, 0.5, 0.9)
TORN_SHARE = 0.3
# what today's disks write as a whole or not at all (a torn super block of ext4, 1 KiB, would be its end)
PHYSICAL = 4096
# how often a new cut is tried for each that is wanted
TRIES = 4
# so many writes between two flushes are worth a cut
MANY = 4


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A power cut: every request before `durable` is on the disk; of those that follow, `kept` are (numbers,
    in order), and of the last of them only the first `torn` bytes when that is not None.

    `lost` is how many were left out.
    """

    durable: int
    kept: tuple[int, ...] = ()
    lost: int = 0
    torn: int | None = None

    @property
    def lost_numbers(self) -> list[int]:
        """The requests that were left out."""
        end = self.durable + len(self.kept) + self.lost
        return sorted(set(range(self.durable, end)) - set(self.kept))

    def __str__(self) -> str:
        """Say it in words."""
        if not self.kept and not self.lost:
            return f"at the flush {self.durable - 1}"
        torn = f", the last one torn after {self.torn} bytes" if self.torn is not None else ""
        return f"after the flush {self.durable - 1}: {len(self.kept)} writes kept{torn}, {self.lost} left out"


def choose_cuts(log: WriteLog, count: int, seed: int) -> list[Cut]:
    """Return up to `count` different cuts in the order of the log: one at each flush (evenly chosen ones when
    there are too many), the rest at random between them.
    """
    chance = random.Random(seed)  # noqa: S311  # a test's choice, not a secret
    cuts = dict.fromkeys(Cut(durable=end) for end in _evenly(_ends(log), count))
    windows = [window for window in _windows(log) if window[1] > window[0]]
    sizes = [end - first for first, end in windows]
    for window in chance.choices(windows, sizes, k=TRIES * count) if windows else ():
        if len(cuts) >= count:
            break
        cuts[_random_cut(log, *window, chance)] = None
    return sorted(cuts, key=lambda cut: (cut.durable, cut.kept))


def choose_between(log: WriteLog, count: int, seed: int) -> list[Cut]:
    """Return up to `count` cuts between flushes, spread over the whole log: where most can be lost."""
    chance = random.Random(seed)  # noqa: S311  # as above
    windows = [window for window in _windows(log) if window[1] - window[0] >= MANY]
    windows = windows or [window for window in _windows(log) if window[1] > window[0]]
    return [_random_cut(log, *window, chance) for window in _evenly(windows, count)]


def _evenly(things: Sequence[T], count: int) -> list[T]:
    if len(things) <= count:
        return list(things)
    return [things[(2 * index + 1) * len(things) // (2 * count)] for index in range(count)]


def _ends(log: WriteLog) -> list[int]:
    """Return for each flush where what it confirmed ends: a write that flushes first does not confirm itself
    (Linux, Documentation/block/writeback_cache_control.rst, REQ_PREFLUSH).
    """
    return [number if log.requests[number].data is not None else number + 1 for number in log.flushes()]


def _windows(log: WriteLog) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of the requests between two flushes."""
    first = 0
    for number, end in zip(log.flushes(), _ends(log), strict=True):
        yield first, number
        first = end
    yield first, len(log.requests)


def _random_cut(log: WriteLog, first: int, end: int, chance: random.Random) -> Cut:
    stop, share = chance.randint(first + 1, end), chance.choice(SHARES)
    kept = [number for number in range(first, stop) if log.requests[number].fua or chance.random() < share]
    # nothing kept is the same as a cut at the flush
    kept = kept or [chance.randrange(first, stop)]
    torn = None
    if kept and chance.random() < TORN_SHARE:
        last = log.requests[kept[-1]]
        ends = range(-last.start % PHYSICAL or PHYSICAL, last.size, PHYSICAL)
        torn = chance.choice(ends) if ends and last.data is not None and not last.fua else None
    return Cut(durable=first, kept=tuple(kept), lost=stop - first - len(kept), torn=torn)


class Replay:
    """A disk (a raw file) that a log is written to, from its beginning on. It goes forward only."""

    def __init__(self, log: WriteLog, disk: Path) -> None:
        self._log, self._disk, self.position = log, disk, 0

    def advance(self, end: int) -> None:
        """Write all requests before `end`. Raises ValueError when the disk is further already."""
        if end < self.position:
            raise ValueError(f"the disk has {self.position} requests already, not {end}")
        write_requests(self._log, self._log.requests[self.position : end], self._disk)
        self.position = end

    @contextlib.contextmanager
    def cut(self, cut: Cut) -> Iterator[Path]:
        """Make the disk what a cut leaves, until the block ends; then it is as whole as it was."""
        self.advance(cut.durable)
        kept = [self._log.requests[number] for number in cut.kept]
        with self._disk.open("rb", buffering=0) as stream:
            before = [
                (request.start, os.pread(stream.fileno(), request.size, request.start))
                for request in kept
                if request.data is not None
            ]
        self.write_rest(cut, self._disk)
        try:
            yield self._disk
        finally:
            with self._disk.open("r+b", buffering=0) as stream:
                for start, content in before:
                    os.pwrite(stream.fileno(), content, start)

    def write_rest(self, cut: Cut, overlay: Path) -> None:
        """Write what a cut has kept beyond what is durable onto another file, which shows the disk."""
        requests = [self._log.requests[number] for number in cut.kept]
        write_requests(self._log, requests, overlay, last=cut.torn)


def write_requests(
    log: WriteLog, requests: Iterable[Request], disk: Path, *, last: int | None = None
) -> None:
    """Write requests to a disk, one after the other; of the last one only the first `last` bytes. What was
    discarded stays as it was: a disk may return anything there, and who relies on zeros is to be found out.
    """
    todo = list(requests)
    with log.file.open("rb", buffering=0) as source, disk.open("r+b", buffering=0) as target:
        for request in todo:
            size = last if last is not None and request is todo[-1] else request.size
            if request.data is not None:
                _copy(source.fileno(), request.data, target.fileno(), request.start, size)


def _copy(source: int, place: int, target: int, start: int, size: int) -> None:
    done = 0
    while done < size:
        piece = os.pread(source, min(CHUNK, size - done), place + done)
        if not piece:
            raise OSError(errno.EIO, "a log of writes became shorter while it was read")
        written = 0
        while written < len(piece):
            written += os.pwrite(target, piece[written:], start + done + written)
        done += len(piece)
