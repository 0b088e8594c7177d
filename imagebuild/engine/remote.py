"""The remote part of a shared store: objects by name, with patience, and every failure a sentence.

Layout of a remote:

    results/KIND/KEY.json    a finished artifact: what artifact.json says, and its packs; written last
    blobs/AA/SHA256          a pack (packs.py), named by the sha256 of its bytes, AA its first two digits
    cells/KEY                a finished cell of a verdict, or what a first boot has left (shelf.py)
    builds/NAME.json         what a build uses: kept by `sweep`
    probe/NAME               asks a service what it can do, and what time it is; gone at once
"""

import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from imagebuild import json_text, steplog
from imagebuild.engine.addresses import open_drive
from imagebuild.engine.drives import CannotCreateError, Drive, Seen
from imagebuild.errors import BuildError

T = TypeVar("T")
BUILDS, CELLS, PROBES = "builds/", "cells/", "probe/"
# no result, cell or record is larger; a build of 10,000 steps has one of 2 MB
LARGEST = 64 << 20
# bytes asked for at once: what is lost when a connection breaks
PART = 32 << 20
HINT = (
    "check the address, the network and the credentials (for s3:// also AWS_ENDPOINT_URL); imagebuild doctor"
)
DOWN = "the same command goes on from here when it answers again"
# what no second attempt changes
FINAL = (PermissionError, NotADirectoryError, IsADirectoryError, FileNotFoundError)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often something is tried, and the seconds before the second attempt; each pause is twice the one
    before.
    """

    attempts: int = 5
    pause: float = 0.5


PATIENT = Patience()


class Remote:
    """Objects that several machines share. Can be pickled: each process opens it for itself."""

    def __init__(self, url: str, patience: Patience = PATIENT) -> None:
        self.url, self.patience = url.rstrip("/"), patience
        self._drive: Drive = open_drive(self.url)
        self._skew: float | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return (Remote, (self.url, self.patience))

    def _try(self, what: str, action: Callable[[], T]) -> T:
        """Do something, again if need be. Raises BuildError."""
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return action()
            except (BuildError, CannotCreateError):
                raise
            except Exception as error:  # botocore, aiohttp and fsspec have no kind in common
                said = str(error).strip() or type(error).__name__
                if isinstance(error, FINAL):
                    raise BuildError(f"{self.url}: {what}: {said}", hint=HINT) from error
                if attempt == self.patience.attempts:
                    times = f"{attempt} attempts" if attempt > 1 else "one attempt"
                    raise BuildError(
                        f"the remote store {self.url} does not work: {what}: {said} ({times})",
                        hint=f"{HINT}; {DOWN}",
                    ) from error
                pause = self.patience.pause * 2 ** (attempt - 1)
                steplog.note(f"{self.url}: {what}: {said}: again in {pause:.1f} s")
                time.sleep(pause)
        raise AssertionError("no attempt was made")

    def read(self, name: str) -> bytes | None:
        """Return a small object, or None. Raises BuildError."""
        data = self._try(f"reading {name}", lambda: self._drive.read(name, LARGEST))
        if data is not None and len(data) >= LARGEST:
            raise BuildError(
                f"{self.url}/{name} is larger than {LARGEST} bytes", hint="it was not made by imagebuild"
            )
        return data

    def read_json(self, name: str) -> Any:
        """Return what a JSON object says, or None when it is not there, or was cut. Raises BuildError."""
        data = self.read(name)
        try:
            return json_text.parse(data) if data is not None else None
        except ValueError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Replace a small object. Raises BuildError."""
        self._try(f"writing {name}", lambda: self._drive.write(name, data))

    def create(self, name: str, data: bytes) -> bytes:
        """Write an object unless there is one, and return what is there then: `data` for whoever was first.
        Raises BuildError.

        What is there is read back, whatever a service said: one may not know conditional writes, or lie.
        """
        there = self.read(name)
        if there is not None:
            return there
        try:
            self._try(f"creating {name}", lambda: self._drive.create(name, data))
        except CannotCreateError:
            self.write(name, data)
        there = self.read(name)
        if there is None:
            raise BuildError(
                f"{self.url}/{name} was written, and is not there",
                hint="the service must show what was written to whoever reads it next",
            )
        return there

    def creates(self) -> str | None:
        """Write an object twice, the second time on the condition that it is not there; return what is wrong
        with that (None: the second was refused, as it must be). Raises BuildError when nothing works.
        """
        name = f"{PROBES}{platform.node()}-{secrets.token_hex(8)}"
        try:
            first = self._try("a conditional write", lambda: self._drive.create(name, b"first"))
            second = self._try("a conditional write", lambda: self._drive.create(name, b"second"))
        except CannotCreateError as error:
            return f"it has no conditional writes ({error})"
        finally:
            there = self.read(name)
            self._try(f"removing {name}", lambda: self._drive.remove(name))
        if there is None:
            return "what was written is not there"
        if not first:
            return "it refuses to write what is not there"
        return (
            None
            if not second and there == b"first"
            else "it accepts conditional writes, and ignores the condition"
        )

    def send(self, name: str, file: Path) -> None:
        """Make an object of a file in `spool`, which may be moved. Raises BuildError."""
        self._try(f"sending {name}", lambda: self._drive.send(name, file))

    def spool(self, here: Path) -> Path:
        """Return where files that are to be sent are written."""
        return self._try("making room", lambda: self._drive.spool(here))

    def look(self, name: str) -> Seen | None:
        """Return what is known of an object, or None. Raises BuildError."""
        return self._try(f"looking at {name}", lambda: self._drive.look(name))

    def listing(self, prefix: str) -> dict[str, Seen]:
        """Return the objects below `prefix`, by name. Raises BuildError."""
        return self._try(f"listing {prefix}", lambda: self._drive.listing(prefix))

    def remove(self, name: str) -> None:
        """Remove an object. Raises BuildError."""
        self._try(f"removing {name}", lambda: self._drive.remove(name))

    def now(self) -> float:
        """Return the time by the remote's clock, seconds since 1970: ages are reckoned by it, whatever this
        machine's clock says. Raises BuildError.
        """
        if self._skew is None:
            name = f"{PROBES}{platform.node()}-{secrets.token_hex(8)}"
            self.write(name, b"now\n")
            seen = self.look(name)
            here = time.time()
            self.remove(name)
            self._skew = seen.modified - here if seen is not None and seen.modified else 0.0
        return time.time() + self._skew

    def open(self, name: str, size: int) -> "RemoteStream":
        """Return an object of that size as a stream; what breaks off is gone on with."""
        return RemoteStream(self, name, size)

    def part(self, name: str, start: int, end: int) -> bytes:
        """Return a part of an object, whole. Raises BuildError when it cannot be had, or the object is
        shorter.
        """

        def whole() -> bytes:
            data = self._drive.part(name, start, end)
            if len(data) != end - start:
                raise OSError(f"{len(data)} bytes instead of {end - start}: it was cut")
            return data

        return self._try(f"reading {name} from byte {start} on", whole)


class RemoteStream:
    """An object, read part by part."""

    def __init__(self, remote: Remote, name: str, size: int) -> None:
        self._remote, self._name, self._size = remote, name, size
        self._position, self._part = 0, memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes. Raises BuildError."""
        if not len(self._part) and self._position < self._size:
            end = min(self._position + PART, self._size)
            self._part = memoryview(self._remote.part(self._name, self._position, end))
            self._position = end
        cut = len(self._part) if size < 0 else size
        data, self._part = bytes(self._part[:cut]), self._part[cut:]
        return data
