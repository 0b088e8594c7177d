"""Finished cells of the verdict, kept between runs: a criterion is not tested again while nothing it depends
on has changed.

What the first boot has left is kept with them: when nothing is to be tested again, nothing boots, and the
reader wants it all the same. A cell's key is made of the artifact's name and bytes, the criterion's source
and that of everything it uses, firmware, QEMU, accelerator and what was expected. Cells that passed, were not
applicable or flaky are kept; a failure is remembered, so that what passes at the second try is *flaky*.

Machines with a remote store share all of that (engine/shelf.py). When that does not work everything is tested
here, as without a remote.
"""

import contextlib
import functools
import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from imagebuild import steplog
from imagebuild.engine.steps import source_digest
from imagebuild.errors import BuildError
from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke import first_boot
from imagebuild.smoke.trial import Trial
from imagebuild.tools import temporary
from imagebuild.tools.qemu import disk_image

BLOCK = 1 << 16
ZEROS = bytes(BLOCK)
# a release line's pause; what is older than that is tested again
UNUSED_DAYS = 90
# what every criterion is run with; pytest finds these by name
SITE = "#"
FIXTURES = ("imagebuild.smoke.criteria.plugin", "imagebuild.smoke.criteria.fixtures")
# what the first boot leaves beside the criteria's own logs (first_boot.py, guest.py, suite.py)
BOOT = (
    "boots.json",
    "phases.json",
    "serial.log",
    "screen.png",
    "machine-id",
    "journal.txt",
    "journal.export",
    "systemd-analyze.txt",
    "screen.txt",
    "serial-hung.log",
    "screen-hung.png",
    "registers-hung.txt",
    "cloud-init-status.json",
    "mounts.txt",
)


def content_digest(file: Path) -> str:
    """Return a sha256 of a file's size, its blocks that hold anything but zeros, and where they lie.

    Holes are not read (lseek(2), SEEK_DATA). Where they are does not count: it changes when the file system
    writes out what it has only in memory yet.
    """
    with file.open("rb") as stream:
        size, offset = os.fstat(stream.fileno()).st_size, 0
        found = hashlib.sha256(f"{size};".encode())
        while offset < size:
            try:
                start = os.lseek(stream.fileno(), offset, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole
                break
            end = os.lseek(stream.fileno(), start, os.SEEK_HOLE)
            for position in range(max(offset, start - start % BLOCK), end, BLOCK):
                stream.seek(position)
                block = stream.read(BLOCK)
                if block != ZEROS[: len(block)]:
                    found.update(f"{position}:".encode())
                    found.update(block)
            offset = end + -end % BLOCK
    return found.hexdigest()


def disk_digest(file: Path, image_format: str) -> str:
    """Return a sha256 of a disk image and of everything it reads from (qemu-img(1), --backing-chain)."""
    return hashlib.sha256(
        "".join(content_digest(each) for each in disk_image.chain(file, image_format)).encode()
    ).hexdigest()


@functools.cache
def _used(module: str) -> str:
    # a site's criterion is not in a module of ours: its digest stands behind the one that runs it
    name, _, digest = module.partition(SITE)
    digests = [*(source_digest(each) for each in (name, *FIXTURES)), digest]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


CELL_FILES = ("log", "cell.json")
FAILURE = "failure"
# loaded by name: how cells travel changes nothing that is found, and an import would put it into their keys
# (engine/steps.py, source_digest)
SHELF = "imagebuild.engine.shelf"


class Shelf(Protocol):
    """What machines share (engine/shelf.py)."""

    def put(self, key: str, sources: Mapping[str, Path], spool: Path) -> None:
        """Share files."""
        ...

    def take(self, key: str, into: Path, names: Sequence[str]) -> list[str]:
        """Bring files that were shared."""
        ...


@functools.cache
def _shelf(url: str) -> Shelf:
    found: Shelf = importlib.import_module(SHELF).open_shelf(url)
    return found


# remotes that did not work: they are not asked again in this process
_away: set[str] = set()


class CellStore:
    """A directory of finished cells, one directory per key."""

    def __init__(self, place: Path, trial: Trial) -> None:
        self._place, self._evidence, self._key = place, trial.evidence, trial.key
        self._remote = trial.scope.cells_remote

    def _take(self, directory: Path, names: Sequence[str], key: str = "") -> None:
        """Bring what another machine has left under a key, the last of `names` at the end."""
        if self._remote is None or self._remote in _away or (directory / names[-1]).is_file():
            return
        with self._sharing(), temporary.within(self._made(), ".taken") as place:
            there = _shelf(self._remote).take(key or directory.name, place, names)
            for name in sorted(there, key=names.index):
                directory.mkdir(exist_ok=True)
                (place / name).replace(directory / name)

    def _share(self, directory: Path, names: Sequence[str], key: str = "") -> None:
        """Let other machines have what was found here."""
        if self._remote is None or self._remote in _away:
            return
        with self._sharing(), temporary.within(self._made(), ".shared") as place:
            there = {name: directory / name for name in names if (directory / name).is_file()}
            _shelf(self._remote).put(key or directory.name, there, place)

    @contextlib.contextmanager
    def _sharing(self) -> Iterator[None]:
        try:
            yield
        except (BuildError, OSError) as error:
            steplog.note(f"cells are not shared: {error}")
            _away.add(str(self._remote))

    def _made(self) -> Path:
        self._place.mkdir(parents=True, exist_ok=True)
        return self._place

    def _directory(self, criterion: str, module: str) -> Path:
        return (
            self._place / hashlib.sha256(f"{criterion} {_used(module)} {self._key}".encode()).hexdigest()[:32]
        )

    def _boot(self) -> Path:
        return self._directory("first boot", first_boot.__name__)

    def knows_boot(self) -> bool:
        """Return whether an earlier run has left its first boot here, or on another machine."""
        self._take(self._boot(), BOOT[::-1])
        return (self._boot() / "boots.json").is_file()

    def find_boot(self) -> None:
        """Copy what an earlier run's first boot left into the evidence; nothing when it has just gone."""
        with contextlib.suppress(FileNotFoundError):
            for file in self._boot().iterdir():
                shutil.copyfile(file, self._evidence / file.name)
            os.utime(self._boot())

    def keep_boot(self) -> None:
        """Remember what a first boot that came up has left."""
        files = [self._evidence / name for name in BOOT]
        if not files[0].is_file() or "ssh" not in json.loads(files[0].read_text())[0]["phases"]:
            return
        self._place.mkdir(parents=True, exist_ok=True)
        with temporary.within(self._place, ".boot") as place:
            new, old = place / "new", place / "old"
            new.mkdir()
            for file in files:
                if file.is_file():
                    shutil.copyfile(file, new / file.name)
            # whole or not there, at any moment
            with contextlib.suppress(FileNotFoundError):
                self._boot().rename(old)
            new.rename(self._boot())
        self._share(self._boot(), BOOT)

    def find(self, criterion: str, module: str) -> Cell | None:
        """Return the cell of an earlier run, its log copied to the evidence; None when there is none."""
        directory = self._directory(criterion, module)
        self._take(directory, CELL_FILES)
        try:
            cell: Cell = TypeAdapter(Cell).validate_json((directory / "cell.json").read_text())
            log = (directory / "log").read_bytes()
        except (OSError, ValueError):
            return None
        file = self._evidence / f"{criterion}.log"
        file.write_bytes(log)
        with contextlib.suppress(FileNotFoundError):
            os.utime(directory)
        reason = (
            cell.reason
            or "kept: it passed before, and neither artifact, criterion, firmware nor QEMU have changed"
        )
        return replace(cell, evidence=file.name, reason=reason)

    def keep(self, cell: Cell, module: str) -> Cell:
        """Remember how a criterion ended; return the cell, which is *flaky* when it passed now and failed
        before.
        """
        directory = self._directory(cell.criterion, module)
        directory.mkdir(parents=True, exist_ok=True)
        failure, failed = directory / FAILURE, f"{directory.name}-failed"
        if cell.state in (State.FAILED, State.ERROR):
            if cell.state is State.FAILED:
                failure.write_text(cell.reason)
                self._share(directory, (FAILURE,), failed)
            return cell
        if cell.state is State.PASSED:
            self._take(directory, (FAILURE,), failed)
        if cell.state is State.PASSED and failure.exists():
            reason = (
                f"passed only at another try; before it failed: {failure.read_text().splitlines()[0][:300]}"
            )
            cell = replace(cell, state=State.FLAKY, reason=reason)
        if cell.state in (State.PASSED, State.FLAKY, State.NOT_APPLICABLE):
            log = self._evidence / cell.evidence
            (directory / "log").write_bytes(log.read_bytes() if log.exists() else b"")
            partial = directory / f"cell.{os.getpid()}"
            partial.write_bytes(TypeAdapter(Cell).dump_json(cell, indent=1))
            partial.rename(directory / "cell.json")
            self._share(directory, CELL_FILES)
        return cell


def collect(place: Path) -> int:
    """Remove the cells (or consoles that were kept) that no run has looked at for `UNUSED_DAYS`; return the
    bytes freed.
    """
    freed, oldest = 0, time.time() - UNUSED_DAYS * 24 * 3600
    for directory in list(place.iterdir()) if place.is_dir() else []:
        # builds go on meanwhile
        with contextlib.suppress(FileNotFoundError):
            if directory.stat().st_mtime < oldest:
                freed += sum(file.stat().st_size for file in directory.rglob("*"))
                shutil.rmtree(directory)
    return freed
