"""Where releases are published: a directory, S3-compatible storage (fsspec), rsync, ssh.

A release is uploaded whole, and read back, before anything points at it; what points at it is replaced in one
step, file by file.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

import fsspec

from imagebuild import files
from imagebuild.config.naming import DESTINATIONS, is_destination
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import command, temporary
from imagebuild.tools.checksum import CHUNK, Entry, check_name

PARTIAL = ".partial"
# objects on their way at the same time
PARALLEL = 8
# rsync(1), exit codes: some files were not transferred; which it may be one does not tell from the code
PARTLY, ABSENT = 23, "No such file or directory"


class Destination(Protocol):
    """A place for releases. Names are paths below it, checked before; `address` tells it from others."""

    address: str

    def upload(self, directory: Path, name: str, entries: Mapping[str, Entry]) -> int:
        """Make `name` hold the files of `entries` (paths below `directory`); return how many were sent: what
        is there already is not sent again.

        Raises BuildError when what is there afterwards, read back, is not what was sent.
        """
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file in one step."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a small file; None when it is not there."""
        ...


def open_destination(url: str) -> Destination:
    """Return the destination of an address. Raises UsageError for one that is none."""
    if not is_destination(url):
        raise UsageError(f"{url!r} is no destination", hint=DESTINATIONS)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Directory(files.path_of(url))
    if parts.scheme == "s3":
        return Bucket(fsspec.filesystem("s3"), f"{parts.netloc}{parts.path}".rstrip("/"))
    if parts.scheme == "rsync":
        return Rsync(f"rsync://{parts.netloc}{parts.path}".rstrip("/"))
    host = parts.netloc.removesuffix(f":{parts.port}")
    return Rsync(f"{host}:{parts.path}".rstrip("/"), port=parts.port)


class Directory:
    """A directory of this host, or of one that is mounted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.address = str(place.absolute())

    def upload(self, directory: Path, name: str, entries: Mapping[str, Entry]) -> int:
        """Copy each file beside its place, and rename it."""
        return sum(
            self._copy(directory / path, self._file(f"{name}/{path}"), entry)
            for path, entry in entries.items()
        )

    def _copy(self, source: Path, target: Path, entry: Entry) -> int:
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


class Bucket:
    """S3-compatible storage: an object appears whole or not at all."""

    def __init__(self, system: Any, base: str) -> None:
        self.system = system
        self.base = base
        self.address = f"s3://{base}"

    def upload(self, directory: Path, name: str, entries: Mapping[str, Entry]) -> int:
        """Send each object that is not there, and read everything back; several at a time (it is waiting,
        mostly), the signed lists last.
        """
        lists = [path for path in entries if path.endswith("-CHECKSUM")]
        others = [path for path in entries if path not in lists]

        def send(path: str) -> int:
            return self._send(directory / path, self._key(f"{name}/{path}"), entries[path])

        with _said(self.base), ThreadPoolExecutor(PARALLEL) as pool:
            self.system.invalidate_cache()
            return sum([*pool.map(send, others), *map(send, lists)])

    def _send(self, file: Path, key: str, entry: Entry) -> int:
        if self._matches(key, entry):
            return 0
        self.system.put_file(str(file), key)
        if not self._matches(key, entry):
            raise BuildError(f"s3://{key} is not what was sent", hint="run the same command again")
        return 1

    def write(self, name: str, data: bytes) -> None:
        """Replace an object."""
        with _said(self.base):
            self.system.pipe_file(self._key(name), data)

    def read(self, name: str) -> bytes | None:
        """Return an object."""
        with _said(self.base):
            try:
                return bytes(self.system.cat_file(self._key(name)))
            except FileNotFoundError:
                return None

    def _key(self, name: str) -> str:
        check_name(name)
        return f"{self.base}/{name}"

    def _matches(self, key: str, entry: Entry) -> bool:
        try:
            size = self.system.info(key, refresh=True)["size"]
        except FileNotFoundError:
            return False
        if size != entry.size:
            return False
        digest = hashlib.sha256()
        with self.system.open(key, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest() == entry.sha256


class Rsync:
    """An rsync daemon, or ssh: rsync(1) writes beside a file and renames it."""

    def __init__(self, place: str, *, port: int | None = None) -> None:
        self.place = self.address = place
        # rsync(1), -e: the words of the remote shell's command, at spaces
        self._rsync = ["rsync", "-e", f"ssh -p {port}"] if port is not None else ["rsync"]

    def upload(self, directory: Path, name: str, entries: Mapping[str, Entry]) -> int:
        """Send what differs, then have rsync compare the content of everything."""
        check_name(name)
        sent = self._sync(directory, name, entries, dry=False)
        left = self._sync(directory, name, entries, dry=True)
        if left:
            raise BuildError(
                f"{self.place}/{name}: {left} files are not what was sent", hint="run the same command again"
            )
        return sent

    def _sync(self, directory: Path, name: str, entries: Mapping[str, Entry], *, dry: bool) -> int:
        self._make(name)
        with temporary.file("files") as listing:
            listing.write_text("".join(f"{path}\n" for path in entries))
            how = ["--dry-run"] if dry else ["--partial-dir=.rsync-partial"]
            what = [f"--files-from={listing}", f"{directory}/", f"{self.place}/{name}/"]
            argv = [
                *self._rsync,
                "--recursive",
                "--relative",
                "--checksum",
                "--chmod=D755,F644",
                "--out-format=%n",
                *how,
                *what,
            ]
            said = command.run(argv)
        return len([line for line in said.splitlines() if line and not line.endswith("/")])

    def _make(self, name: str) -> None:
        """Make a directory over there: an empty tree is sent."""
        with temporary.directory("empty") as empty:
            (empty / name).mkdir(parents=True)
            command.run(
                [
                    *self._rsync,
                    "--recursive",
                    "--relative",
                    "--mkpath",
                    "--chmod=D755",
                    f"{empty}/./{name}",
                    f"{self.place}/",
                ]
            )

    def write(self, name: str, data: bytes) -> None:
        """Replace a file."""
        check_name(name)
        with temporary.directory("file") as place:
            file = place / PurePosixPath(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            command.run(
                [
                    *self._rsync,
                    "--relative",
                    "--checksum",
                    "--mkpath",
                    "--chmod=D755,F644",
                    f"{place}/./{name}",
                    f"{self.place}/",
                ]
            )

    def read(self, name: str) -> bytes | None:
        """Return a file."""
        check_name(name)
        with temporary.directory("file") as place:
            target = place / "file"
            code, said = command.status([*self._rsync, f"{self.place}/{name}", str(target)])
            if code == PARTLY and ABSENT in said and not target.exists():
                return None
            if code != 0 or not target.is_file():
                raise BuildError(
                    f"{self.place}/{name} cannot be read: {said.strip()}",
                    hint="check the address, and who may read there",
                )
            return target.read_bytes()


@contextlib.contextmanager
def _said(base: str) -> Iterator[None]:
    """Turn what storage libraries raise into a sentence."""
    try:
        yield
    except BuildError:
        raise
    except Exception as error:  # botocore, aiohttp and fsspec have no kind in common
        raise BuildError(
            f"s3://{base}: {error}", hint="check the bucket, AWS_ENDPOINT_URL and the credentials"
        ) from error


def _matches(file: Path, entry: Entry) -> bool:
    return file.stat().st_size == entry.size and files.sha256(file) == entry.sha256
