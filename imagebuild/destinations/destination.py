"""What others know of a kind of destination, and what one does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult

from imagebuild.tools.checksum import HashedFile


class Destination(Protocol):
    """A place for releases. Names are paths below it, checked before; `address` tells it from others."""

    address: str

    def upload(self, directory: Path, name: str, entries: Mapping[str, HashedFile]) -> int:
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


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A kind of address.

    `name` is what stands before the ://, `form` how it looks, for people; `accepts` says whether an address
    can be one, `open` returns the destination of one that can. `tools` are the programs that run; what is not
    `documented` is left out where people are told what there is.
    """

    name: str
    form: str
    accepts: Callable[[SplitResult], bool]
    open: Callable[[str], Destination]
    tools: tuple[str, ...] = ()
    documented: bool = True
