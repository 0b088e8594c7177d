"""A remote in a directory that is mounted on every machine that shares it.

Beside objects it has:

    imagebuild-store    says that it is the one that is meant
    partial/            what is being written: renamed, or linked, when it is whole
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.engine.drives import Seen

MARK, PARTIAL = "imagebuild-store", "partial"
# link(2) where there are no hard links
HELD_SECONDS = 60.0
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


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
        """Link a whole file to its name (link(2) refuses one that is taken); where there are no links, who
        makes a mark of that name (open(2), O_EXCL) may rename it there.
        """
        target = self._at(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._whole(data) as partial:
            try:
                os.link(partial, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                if not self._rename_exclusively(partial, target):
                    return False
        files.sync(target.parent)
        return True

    def _rename_exclusively(self, partial: Path, target: Path) -> bool:
        """Rename a whole file to a name that is free. Whoever is killed in between leaves its mark: the name
        is then free for those who come `HELD_SECONDS` later.
        """
        mark = self.spool(self.place) / f"{hashlib.sha256(str(target).encode()).hexdigest()[:32]}.taken"
        with contextlib.suppress(FileNotFoundError):
            if time.time() - mark.stat().st_mtime > HELD_SECONDS:
                mark.unlink(missing_ok=True)
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            if target.exists():
                return False
            raise OSError(errno.EBUSY, f"another machine is writing {target.name}") from None
        try:
            if target.exists():
                return False
            partial.rename(target)
            return True
        finally:
            mark.unlink(missing_ok=True)

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
        """Replace a file: what is not whole yet lies elsewhere, where nobody looks for objects."""
        target = self._at(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._whole(data) as partial:
            partial.replace(target)
        files.sync(target.parent)

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
