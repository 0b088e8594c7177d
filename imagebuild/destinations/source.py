"""Where a release is read from: a directory, or a web server that is not trusted."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, unquote, urlsplit

import requests

from imagebuild import files
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import answers
from imagebuild.tools.checksum import CHUNK, check_name

# S3 answers 403 for what is not there when the reader may not list the bucket (its API reference, GetObject)
ABSENT = (requests.codes.not_found, requests.codes.forbidden, requests.codes.gone)
SMALL = 32 << 20
ADDRESS = "give http(s)://HOST/…/COMPOSE_ID, or a directory"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long a server is waited for: attempts in all, seconds before the second (doubled each time; a
    server that says `Retry-After` gets up to `longest_pause`), seconds to connect, and the fewest bytes/s in
    every period of `seconds`.
    """

    attempts: int = 4
    pause: float = 1.0
    longest_pause: float = 120.0
    connect: float = 10.0
    slowest: float = 1000.0
    seconds: float = 60.0


PACE = Pace()
# RFC 9110, 6585: time-out, too early, too many requests; servers' own errors besides
AGAIN = (408, 425, 429)
# what another attempt would meet again
FINAL = (
    requests.exceptions.SSLError,
    requests.TooManyRedirects,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)


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

    def __init__(self, url: str, pace: Pace = PACE) -> None:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UsageError(f"{url!r} is not the address of a release: {error}", hint=ADDRESS) from error
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise UsageError(f"{url!r} is not the address of a release", hint=ADDRESS)
        self.url = url.rstrip("/") + "/"
        self._shown, self._pace = re.sub(r"(?<=://)[^/]*@", "", self.url), pace
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
        total = 0
        for attempt in range(1, self._pace.attempts + 1):
            wanted = 0.0
            try:
                with self._ask(path, total) as answer:
                    wanted = answers.retry_after(answer, self._pace.longest_pause)
                    skipped = self._check(answer, path, total)
                    for block in _rest(
                        answers.blocks(answer, slowest=self._pace.slowest, seconds=self._pace.seconds),
                        skipped,
                    ):
                        total += len(block)
                        yield block
                        # whoever reads sees that it is too much
                        if total > limit:
                            return
                    return
            except requests.RequestException as error:
                if attempt == self._pace.attempts or isinstance(error, FINAL):
                    said = str(error).replace(self.url, self._shown)
                    raise BuildError(
                        f"{self._shown}{path} cannot be fetched: {said}",
                        hint="check the address and the network",
                    ) from error
            time.sleep(max(wanted, self._pace.pause * 2 ** (attempt - 1)))

    def _ask(self, path: str, begin: int) -> requests.Response:
        """Ask for a file, or the rest of it after an attempt that was cut off."""
        rest = {"Range": f"bytes={begin}-"} if begin else {}
        timeout = (self._pace.connect, self._pace.seconds)
        return self._session.get(self.url + quote(path), stream=True, timeout=timeout, headers=rest)

    def _check(self, answer: requests.Response, path: str, begin: int) -> int:
        """Return how many bytes of the answer came before (a server may send the whole file again). Raises
        AbsentError, BuildError for what another attempt would not change, HTTPError for what it may.
        """
        status = answer.status_code
        if status in ABSENT:
            raise AbsentError(f"{path} is not there (the server answers {status})")
        if status in AGAIN or status >= requests.codes.server_error:
            raise requests.HTTPError(f"the server answers {status}")
        rest = status == requests.codes.partial_content and answer.headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {begin}-")
        if status != requests.codes.ok and not (begin and rest):
            raise BuildError(f"{self._shown}{path}: the server answers {status}")
        return 0 if rest else begin

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


def _rest(blocks: Iterator[bytes], skipped: int) -> Iterator[bytes]:
    for block in blocks:
        if len(block) > skipped:
            yield block[skipped:]
        skipped = max(0, skipped - len(block))


def _limited(stream: BinaryIO, limit: int) -> Iterator[bytes]:
    total = 0
    while chunk := stream.read(CHUNK):
        total += len(chunk)
        yield chunk
        # whoever reads sees that it is too much
        if total > limit:
            return
