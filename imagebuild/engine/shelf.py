"""Small directories that machines share by a key: one object each, `cells/KEY`, which never changes once it
is there.

An object is the sha256 of a pack (packs.py), 64 hexadecimal digits and a line feed, and then the pack.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuild.engine.packs import DamagedPackError, read_pack, write_pack
from imagebuild.engine.remote import CELLS, Patience, Remote
from imagebuild.errors import BuildError

HEAD = 65
# no file of a cell, nor what a first boot leaves, is larger
LARGEST = 32 << 20


# a remote that is away must not hold up a guest that waits
HASTY = Patience(attempts=2)


def open_shelf(url: str) -> "Shelf":
    """Return the shared directories of the remote at an address. Raises BuildError."""
    return Shelf(Remote(url, HASTY))


class Shelf:
    """The shared directories of a remote."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def put(self, key: str, sources: Mapping[str, Path], spool: Path) -> None:
        """Share files (name -> where they lie) unless somebody has shared some under that key; `spool` is a
        directory for what is under way. Raises BuildError.
        """
        if any(file.stat().st_size > LARGEST for file in sources.values()):
            return
        pack = write_pack(sources, spool / "pack")
        self._remote.create(f"{CELLS}{key}", f"{pack.sha256}\n".encode() + (spool / "pack").read_bytes())

    def take(self, key: str, into: Path, names: Sequence[str]) -> list[str]:
        """Write what was shared under a key into a directory, and return the names of its files, which must
        be among `names`: none when nothing was. Raises BuildError.
        """
        data = self._remote.read(f"{CELLS}{key}")
        if data is None:
            return []
        sha256, pack = data[: HEAD - 1].decode("ascii", "replace"), data[HEAD:]

        def expects(name: str, size: int) -> bool:
            return name in names and size <= LARGEST

        try:
            return read_pack(io.BytesIO(pack), into, expects, sha256=sha256, size=len(pack))
        except DamagedPackError as error:
            raise BuildError(
                f"{self._remote.url}/{CELLS}{key} is not used: {error.message}",
                hint=f"find out who wrote it; then remove {CELLS}{key} there",
            ) from error
