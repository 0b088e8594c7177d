"""What a remote lies on: a place for objects. Names are paths below it; an object is there whole, or not at
all.

What goes wrong is raised as it comes (OSError, or what a driver raises): `remote.Remote` tries again, and
makes a sentence of it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


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
