"""A remote in an object store that fsspec has a driver for."""

import contextlib
from pathlib import Path
from typing import Any

from imagebuild.engine.drives import CannotCreateError, Seen

# error codes of a refused `If-None-Match: *` (Amazon S3 API, PutObject), and of a service that has no such
# thing
EXISTS = ("PreconditionFailed", "412")
UNKNOWN = ("NotImplemented", "501", "InvalidArgument", "InvalidRequest")


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
