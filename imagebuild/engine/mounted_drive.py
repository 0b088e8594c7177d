"""A remote in a directory that is mounted on every machine that shares it.

Beside objects it has:

    imagebuild-store    says that it is the one that is meant
    partial/            what is being written: renamed, or linked, when it is whole
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.engine.drives import Seen

MARK, PARTIAL = "imagebuild-store", "partial"


class MountedDrive:
    """A directory. A file in it says that it is the one that is meant: without it, it is not mounted now."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / MARK).touch()

    def _at(self, name: str) -> Path:
        if not (self.place / MARK).exists():
            raise OSError(f"{self.place / MARK} has gone: is {self.place} still mounted?")
        return self.place / name

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a small file."""
        try:
            with self._at(name).open("rb") as stream:
                return stream.read(limit)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def part(self, name: str, start: int, end: int) -> bytes:
        """Read a part of a file."""
        with self._at(name).open("rb") as stream:
            return os.pread(stream.fileno(), end - start, start)

    def create(self, name: str, data: bytes) -> bool:
        """Link a whole file to its name (link(2) refuses one that is taken); where there are no links, make
        it exclusively (open(2), O_EXCL).
        """
        target = self._at(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._whole(data) as partial:
            try:
                os.link(partial, target)
            except FileExistsError:
                return False
            except OSError:
                return self._create_exclusively(target, data)
        files.sync(target.parent)
        return True

    def _create_exclusively(self, target: Path, data: bytes) -> bool:
        try:
            with target.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except FileExistsError:
            return False
        return True

    @contextlib.contextmanager
    def _whole(self, data: bytes) -> Iterator[Path]:
        partial = self.spool(self.place) / secrets.token_hex(8)
        try:
            with partial.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file."""
        files.replace(self._at(name), data)

    def send(self, name: str, file: Path) -> None:
        """Rename a file to where it belongs."""
        target = self._at(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.sync(file)
        try:
            file.rename(target)
        except OSError:  # it lies elsewhere
            with self._whole(b"") as partial:
                shutil.copyfile(file, partial)
                files.sync(partial)
                partial.replace(target)
        files.sync(target.parent)

    def spool(self, here: Path) -> Path:
        """Return a directory on the same file system."""
        del here
        place = self._at(PARTIAL)
        place.mkdir(exist_ok=True)
        return place

    def look(self, name: str) -> Seen | None:
        """Return a file's size and time."""
        try:
            status = self._at(name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Seen(status.st_size, status.st_mtime)

    def listing(self, prefix: str) -> dict[str, Seen]:
        """Return the files below a directory."""
        found: dict[str, Seen] = {}
        for parent, _, names in os.walk(self._at(prefix)):
            for file in (Path(parent) / name for name in names):
                name = str(file.relative_to(self.place))
                seen = self.look(name)
                if seen is not None:
                    found[name] = seen
        return found

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._at(name).unlink(missing_ok=True)
