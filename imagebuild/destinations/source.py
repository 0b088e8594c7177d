"""Where a release is read from: a directory, or a web server that is not trusted."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

import requests
import urllib3

from imagebuild import files
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools.checksum import CHUNK, check_name

TIMEOUT = (10.0, 60.0)
# S3 answers 403 for what is not there when the reader may not list the bucket (its API reference, GetObject)
ABSENT = (requests.codes.not_found, requests.codes.forbidden, requests.codes.gone)
SMALL = 32 << 20
ADDRESS = "give http(s)://HOST/…/COMPOSE_ID, or a directory"


class AbsentError(BuildError):
    """A file is not there."""


class ReleaseSource(Protocol):
    """A release, by the paths of its files."""

    name: str

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file's content, at most `limit` bytes and a bit. Raises AbsentError, BuildError."""
        ...

    def paths(self) -> set[str] | None:
        """Return every path there is; None where that cannot be known."""
        ...

    def local(self, path: str) -> Path | None:
        """Return the file itself where it is one of this host."""
        ...


class DirectorySource:
    """A release in a directory. Symbolic links are not followed: a release has none."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.name = place.resolve().name

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file's content."""
        file = self.local(path)
        if file is None:
            raise AbsentError(f"{path} is not there")
        with file.open("rb") as stream:
            yield from _limited(stream, limit)

    def paths(self) -> set[str] | None:
        """Return every path, of links and odd files too."""
        return {
            str(file.relative_to(self.place))
            for file in self.place.rglob("*")
            if file.is_symlink() or not file.is_dir()
        }

    def local(self, path: str) -> Path | None:
        """Return the file, unless a link leads to it."""
        check_name(path)
        file = self.place / path
        links = [
            each
            for each in (file, *file.parents)
            if each.is_relative_to(self.place) and each != self.place and each.is_symlink()
        ]
        return file if file.is_file() and not links else None


class WebSource:
    """A release on a web server."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UsageError(f"{url!r} is not the address of a release: {error}", hint=ADDRESS) from error
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise UsageError(f"{url!r} is not the address of a release", hint=ADDRESS)
        self.url = url.rstrip("/") + "/"
        self.name = unquote(parts.path.rstrip("/").rpartition("/")[2])
        self._session = requests.Session()
        # what is signed is the file, not how a server packs it
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.max_redirects = 5

    def chunks(self, path: str, limit: int) -> Iterator[bytes]:
        """Yield a file's content as it comes. Mirrors redirect: whatever comes is compared with what was
        signed.
        """
        check_name(path)
        try:
            with self._session.get(self.url + quote(path), stream=True, timeout=TIMEOUT) as answer:
                if answer.status_code in ABSENT:
                    raise AbsentError(f"{path} is not there (the server answers {answer.status_code})")
                if answer.status_code != requests.codes.ok:
                    raise BuildError(f"{self.url}{path}: the server answers {answer.status_code}")
                yield from _limited(cast("BinaryIO", answer.raw), limit)
        # what is read from the raw answer fails in urllib3's own words
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise BuildError(
                f"{self.url}{path} cannot be fetched: {error}", hint="check the address and the network"
            ) from error

    def paths(self) -> set[str] | None:
        """Web servers do not say what they have."""
        return None

    def local(self, path: str) -> Path | None:
        """Nothing is here."""
        del path
        return None


def open_source(place: str) -> ReleaseSource:
    """Return the source for a directory or an address. Raises UsageError."""
    if "://" in place and not place.startswith("file://"):
        return WebSource(place)
    directory = files.path_of(place) if place.startswith("file://") else Path(place)
    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}")
    return DirectorySource(directory)


def read(source: ReleaseSource, path: str, limit: int = SMALL) -> bytes:
    """Return a whole small file. Raises AbsentError; BuildError for one that is larger than `limit`."""
    data = b"".join(source.chunks(path, limit))
    if len(data) > limit:
        raise BuildError(f"{path} is larger than {limit} bytes")
    return data


def _limited(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        yield chunk
        # whoever reads sees that it is too much
        if total > limit:
            return
