"""A directory of this machine, or one that is mounted: file://."""

from collections.abc import Mapping
from pathlib import Path

from imagebuild import files
from imagebuild.destinations.destination import Scheme
from imagebuild.errors import BuildError
from imagebuild.tools.checksum import HashedFile, check_name

PARTIAL = ".partial"


class Directory:
    """A directory of this machine, or one that is mounted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.address = str(place.absolute())

    def upload(self, directory: Path, name: str, entries: Mapping[str, HashedFile]) -> int:
        """Copy each file beside its place, and rename it."""
        return sum(
            self._copy(directory / path, self._file(f"{name}/{path}"), entry)
            for path, entry in entries.items()
        )

    def _copy(self, source: Path, target: Path, entry: HashedFile) -> int:
        try:
            if target.is_file() and not target.is_symlink() and _matches(target, entry):
                return 0
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}{PARTIAL}")
            files.clone(source, partial)
            if not _matches(partial, entry):
                raise BuildError(
                    f"{target} is not what was copied", hint="is the disk broken? run the same command again"
                )
            partial.replace(target)
        except OSError as error:
            raise BuildError(
                f"{target} cannot be written: {error.strerror}",
                hint="make space or give permission, then run the same command again",
            ) from error
        return 1

    def write(self, name: str, data: bytes) -> None:
        """Replace a file."""
        files.replace(self._file(name), data)

    def read(self, name: str) -> bytes | None:
        """Return a file."""
        file = self._file(name)
        return file.read_bytes() if file.is_file() else None

    def _file(self, name: str) -> Path:
        check_name(name)
        return self.place / name


def _matches(file: Path, entry: HashedFile) -> bool:
    return file.stat().st_size == entry.size and files.sha256(file) == entry.sha256


FILE = Scheme(
    name="file",
    form="file:///PATH",
    accepts=lambda parts: not parts.netloc,
    open=lambda url: Directory(files.path_of(url)),
)
