"""Settled first boots, saved once per artifact and machine: what boots nothing itself is tested on a copy.

Layout of the directory, which lies in the local store and nowhere else, and is for its owner only:

    KEY/                     renamed into place when it is whole
        boot.json            what was asked of the guest, and the sizes of the other files
        overlay.qcow2.zst    what it wrote to its disk
        variables.qcow2.zst  UEFI's variables, where there are any; in one of both lies the machine's memory
        seed.iso             the seed that the guest still has in its drive
        key                  what opens this guest and no other: mode 0600
    locks/KEY                flock(2)ed by who reads, writes or removes it

A key is made of everything that must be the same for a machine's memory to go on in another QEMU.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import files
from imagebuild.engine.steps import source_digest
from imagebuild.errors import BuildError
from imagebuild.kinds import Login
from imagebuild.smoke.guest_machine import GuestFiles, describe_machine, files_in
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.trial import Trial, guest_tools, keyed
from imagebuild.tools import command, temporary
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.build import build_digest, builder_processor
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Places
from imagebuild.tools.qemu.registry import FIRMWARES

# hundreds of megabytes each: not as long as cells are
UNUSED_DAYS = 14
BOOT, KEY, LOCKS, ZST = "boot.json", "key", "locks", ".zst"
# the module that makes a first boot, with everything that it uses
MAKER = "imagebuild.smoke.first_boot"
PRIVATE = 0o600


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A copy of a saved first boot, from which one guest can go on: its files and `key`, what was asked of
    it, how it booted, and when (ISO 8601).
    """

    files: GuestFiles
    key: Path
    expected: Expected
    phases: dict[str, float]
    when: str


@dataclass(frozen=True, kw_only=True)
class SavedRecord:
    """What boot.json says; `source` is the artifact that it goes with, `sizes` (bytes) are those of the other
    files, `parts` those of its key.
    """

    expected: Expected
    phases: dict[str, float]
    when: str
    source: Path | None
    sizes: dict[str, int]
    parts: dict[str, str]


def components(trial: Trial) -> dict[str, str]:
    """Return what the key of a trial's saved boot is made of, by name."""
    bench, terms = trial.bench, trial.promise.terms
    return {
        "subject": json.dumps(keyed(trial.subject), sort_keys=True),
        "bench": json.dumps(keyed(bench), sort_keys=True),
        "cores": str(bench.cores),
        "memory": str(bench.memory),
        "processor": bench.accelerator.model,
        # an emulated guest never sees it
        "builder": builder_processor() if bench.accelerator.name != "tcg" else "",
        "machine": json.dumps(_told_qemu(trial)),
        "qemu build": build_digest(bench.accelerator.program),
        **guest_tools(bench.accelerator, bench.firmware),
        "login": f"{terms.login} {terms.user}",
        "source": source_digest(MAKER),
    }


def _told_qemu(trial: Trial) -> list[str]:
    """Return QEMU's command line for the guest, but for where files lie and which ports are free."""
    place, seeded = Path(), trial.promise.terms.login is not Login.VAGRANT
    named = GuestFiles(
        overlay=place / "overlay", variables=place / "variables", seed=place / "seed" if seeded else None
    )
    places = Places(serial=place / "serial", monitor=place / "monitor", variables=named.variables)
    flash = FIRMWARES[trial.bench.firmware].find_flash(trial.bench.accelerator.arch)
    machine = describe_machine(trial, named, {}, {}, isolated=True)
    return command_line(machine, trial.bench.accelerator, places, flash)


class SavedBoots:
    """The saved first boot of a trial, in a directory of such."""

    def __init__(self, place: Path, trial: Trial) -> None:
        self._place, self._trial, self._parts = place, trial, components(trial)
        name = hashlib.sha256(json.dumps(self._parts, sort_keys=True).encode()).hexdigest()[:32]
        self.directory = place / name

    def there(self) -> bool:
        """Whether there is one, and it is whole."""
        return read(self.directory) is not None

    def take(self, work: Path) -> Saved | None:
        """Copy it to `work`, on top of the trial's disk; None when there is none. Raises BuildError."""
        with self._locked():
            record = read(self.directory)
            if record is None:
                return None
            try:
                for name in record.sizes:
                    self._unpack(self.directory / name, work)
                os.utime(self.directory)
            except OSError as error:
                raise BuildError(f"the saved first boot cannot be read: {error}") from error
        taken, subject = files_in(work), self._trial.subject
        disk_image.point_overlay(taken.overlay, subject.disk, subject.format)
        return Saved(
            files=taken, key=work / KEY, expected=record.expected, phases=record.phases, when=record.when
        )

    def _unpack(self, file: Path, work: Path) -> None:
        if file.suffix == ZST:
            command.run(["zstd", "-q", "-d", file, "-o", work / file.stem])
        else:
            _copy(file, work / file.name)

    def keep(self, frozen: GuestFiles, key: Path, expected: Expected, phases: dict[str, float]) -> None:
        """Save a guest that stands still, in place of what there was. Raises BuildError."""
        try:
            with self._locked(), temporary.within(self._place, ".saving") as place:
                new, old = place / "new", place / "old"
                new.mkdir(mode=0o700)
                for file in filter(Path.exists, (frozen.overlay, frozen.variables)):
                    command.run(["zstd", "-q", "-1", "-T0", file, "-o", new / f"{file.name}{ZST}"])
                _copy(key, new / KEY)
                if frozen.seed is not None:
                    _copy(frozen.seed, new / frozen.seed.name)
                self._write_record(new, expected, phases)
                files.sync_tree(new)
                # whole or not there, at any moment
                with contextlib.suppress(FileNotFoundError):
                    self.directory.rename(old)
                new.rename(self.directory)
                files.sync(self._place)
        except OSError as error:
            raise BuildError(f"the first boot cannot be saved: {error}") from error

    def _write_record(self, new: Path, expected: Expected, phases: dict[str, float]) -> None:
        for file in new.iterdir():
            file.chmod(PRIVATE)
        record = SavedRecord(
            expected=expected,
            phases=phases,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            source=self._trial.subject.source,
            sizes={file.name: file.stat().st_size for file in new.iterdir()},
            parts=self._parts,
        )
        _copy_bytes(TypeAdapter(SavedRecord).dump_json(record, indent=1), new / BOOT)

    def discard(self) -> None:
        """Remove it: it was found not to come back."""
        with self._locked():
            _remove(self.directory)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.locked(_lock_of(self.directory), busy="", wait=True):
            yield


def read(directory: Path) -> SavedRecord | None:
    """Return the record of a saved boot; None when there is none, or a file of it was cut or lost, or its key
    can be read by others.
    """
    try:
        record: SavedRecord = TypeAdapter(SavedRecord).validate_json((directory / BOOT).read_bytes())
        whole = all((directory / name).stat().st_size == size for name, size in record.sizes.items())
        mode = stat.S_IMODE((directory / KEY).stat().st_mode)
    except (OSError, ValueError):
        return None
    return record if whole and mode == PRIVATE else None


def collect(place: Path) -> int:
    """Remove the saved boots whose artifact has gone, or that nobody has used for `UNUSED_DAYS`; return the
    bytes freed.
    """
    freed, oldest = 0, time.time() - UNUSED_DAYS * 24 * 3600
    for directory in list(place.iterdir()) if place.is_dir() else []:
        # one that is being made, or was when its builder died, has a dot: `temporary.sweep` has those
        if directory.name == LOCKS or directory.name.startswith(".") or not directory.is_dir():
            continue
        with contextlib.suppress(BuildError), files.locked(_lock_of(directory), busy="it is in use"):
            record = read(directory)
            gone = record is None or (record.source is not None and not record.source.exists())
            if gone or directory.stat().st_mtime < oldest:
                freed += sum(file.lstat().st_blocks * 512 for file in directory.iterdir())
                _remove(directory)
    return freed


def _lock_of(directory: Path) -> Path:
    return directory.parent / LOCKS / directory.name


def _remove(directory: Path) -> None:
    """Remove a saved boot; killed half-way it leaves nothing that looks whole."""
    (directory / BOOT).unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    _copy_bytes(source.read_bytes(), target)


def _copy_bytes(data: bytes, target: Path) -> None:
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
