"""Where objects of a remote lie: a directory that is mounted on every machine, or an object store that fsspec
has a driver for. Names are paths below it; an object is there whole, or not at all.

What goes wrong is raised as it comes (OSError, or what a driver raises): `remote.Remote` tries again, and
makes a sentence of it.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from imagebuild import files
from imagebuild.errors import MissingToolError, UsageError

# scheme -> the Python package with its driver (fsspec.registry, known_implementations); what is in memory is
# for tests
DRIVERS = {"s3": "s3fs", "memory": "fsspec"}
FORMS = "give file:///DIRECTORY (mounted on every machine), or s3://BUCKET/PATH"
PARTIAL = "partial"
# seconds; each attempt is one request: Remote counts them, not botocore (botocore.config.Config)
TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60}
# error codes of a refused `If-None-Match: *` (Amazon S3 API, PutObject), and of a service that has no such
# thing
EXISTS = ("PreconditionFailed", "412")
UNKNOWN = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest")


@dataclass(frozen=True)
class Seen:
    """An object as it is listed: bytes, and seconds since 1970 when it was written, by the remote's clock."""

    size: int
    modified: float


class CannotCreateError(Exception):
    """The service does not know conditional writes."""


class Drive(Protocol):
    """A place for objects."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a small object; None when it is not there."""
        ...

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`; fewer of an object that is shorter."""
        ...

    def create(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one; return whether it was written. Raises CannotCreateError."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace a small object."""
        ...

    def send(self, name: str, file: Path) -> None:
        """Make an object of a file that lies in `spool()`, and may be moved."""
        ...

    def spool(self, here: Path) -> Path:
        """Return where files are best written that are to be sent: `here`, or nearer."""
        ...

    def look(self, name: str) -> Seen | None:
        """Return what is known of an object; None when it is not there."""
        ...

    def listing(self, prefix: str) -> dict[str, Seen]:
        """Return every object whose name begins with a directory's."""
        ...

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        ...


class MountedDrive:
    """A directory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a small file."""
        try:
            with (self.place / name).open("rb") as stream:
                return stream.read(limit)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def part(self, name: str, start: int, end: int) -> bytes:
        """Read a part of a file."""
        with (self.place / name).open("rb") as stream:
            return os.pread(stream.fileno(), end - start, start)

    def create(self, name: str, data: bytes) -> bool:
        """Link a whole file to its name (link(2) refuses one that is taken); where there are no links, make
        it exclusively (open(2), O_EXCL).
        """
        target = self.place / name
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
        files.replace(self.place / name, data)

    def send(self, name: str, file: Path) -> None:
        """Rename a file to where it belongs."""
        target = self.place / name
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
        place = self.place / PARTIAL
        place.mkdir(exist_ok=True)
        return place

    def look(self, name: str) -> Seen | None:
        """Return a file's size and time."""
        try:
            status = (self.place / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Seen(status.st_size, status.st_mtime)

    def listing(self, prefix: str) -> dict[str, Seen]:
        """Return the files below a directory."""
        found: dict[str, Seen] = {}
        for parent, _, names in os.walk(self.place / prefix):
            for file in (Path(parent) / name for name in names):
                name = str(file.relative_to(self.place))
                seen = self.look(name)
                if seen is not None:
                    found[name] = seen
        return found

    def remove(self, name: str) -> None:
        """Remove a file."""
        (self.place / name).unlink(missing_ok=True)


class ObjectDrive:
    """An object store, through fsspec."""

    def __init__(self, system: Any, base: str) -> None:
        self._system, self._base = system, base

    def _key(self, name: str) -> str:
        return f"{self._base}/{name}"

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a small object."""
        try:
            # with a range it is one request, however large it says it is
            return bytes(self._system.cat_file(self._key(name), start=0, end=limit))
        except FileNotFoundError:
            return None

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return a part of an object."""
        return bytes(self._system.cat_file(self._key(name), start=start, end=end))

    def create(self, name: str, data: bytes) -> bool:
        """Write an object with `If-None-Match: *` (fsspec's mode `create`)."""
        try:
            self._system.pipe_file(self._key(name), data, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            code = error_code(error)
            if code in EXISTS:
                return False
            if code in UNKNOWN:
                raise CannotCreateError(code) from error
            raise
        return True

    def write(self, name: str, data: bytes) -> None:
        """Replace an object."""
        self._system.pipe_file(self._key(name), data)

    def send(self, name: str, file: Path) -> None:
        """Upload a file."""
        self._system.put_file(str(file), self._key(name))

    def spool(self, here: Path) -> Path:
        """Return a directory of this machine."""
        here.mkdir(parents=True, exist_ok=True)
        return here

    def look(self, name: str) -> Seen | None:
        """Return an object's size and time."""
        try:
            return _seen(self._system.info(self._key(name), refresh=True))
        except FileNotFoundError:
            return None

    def listing(self, prefix: str) -> dict[str, Seen]:
        """Return the objects below a prefix."""
        self._system.invalidate_cache()
        try:
            found = self._system.find(self._key(prefix), detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._base.lstrip("/")) + 1
        return {key.lstrip("/")[start:]: _seen(info) for key, info in found.items()}

    def remove(self, name: str) -> None:
        """Remove an object."""
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._key(name))


def _seen(info: Any) -> Seen:
    when = info.get("LastModified") or info.get("created")
    return Seen(int(info["size"]), when.timestamp() if when is not None else 0.0)


def error_code(error: BaseException) -> str:
    """Return a service's error code from what s3fs has made of botocore's ClientError; empty: there is
    none.
    """
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def open_drive(url: str) -> Drive:
    """Return the drive of a remote's address. Raises UsageError for what is none, MissingToolError when its
    driver is not installed.
    """
    scheme, place = parts_of(url)
    if scheme == "file":
        directory = files.path_of(url)
        if not directory.is_dir():
            raise UsageError(
                f"the remote store {url} is not there: there is no directory {directory}",
                hint="mount it, or make it once: it is not made here, lest an empty directory below which"
                " nothing is mounted be taken for it",
            )
        return MountedDrive(directory)
    # fsspec looks for drivers, which only whoever has a remote needs
    import fsspec  # noqa: PLC0415

    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme == "s3":
        retries = {"mode": "standard", "total_max_attempts": 1}
        options |= {"config_kwargs": {**TIMEOUTS, "retries": retries}}
    try:
        system = fsspec.filesystem(scheme, **options)
    except ImportError as error:
        package = DRIVERS[scheme]
        raise MissingToolError(
            f"{scheme}:// needs the Python package {package}: {error}",
            hint=f"pip install 'imagebuild[{scheme}]'",
        ) from error
    if scheme == "s3":
        system.retries = 1
    return ObjectDrive(system, place)


def parts_of(url: str) -> tuple[str, str]:
    """Return scheme and place of a remote's address. Raises UsageError for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{url!r} is not the address of a remote store: {error}", hint=FORMS) from error
    file = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
    bucket = parts.scheme in DRIVERS and bool(parts.netloc) and not set(url) & set("?#@")
    if not (file or bucket):
        raise UsageError(f"{url!r} is not the address of a remote store", hint=FORMS)
    return parts.scheme, f"{parts.netloc}{parts.path}".rstrip("/")
