"""Which data files of the product are opened: `with opened() as files`."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from imagebuild.config.places import shared_directory

PLACES = tuple(f"{shared_directory(name).resolve()}/" for name in ("templates", "kickstarts", "configs"))
# one list per block that looks; an audit hook cannot be removed
_watching: list[set[Path]] = []
_lock = threading.Lock()


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _watching or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    name = os.path.realpath(os.fsdecode(arguments[0]))
    if name.startswith(PLACES):
        with _lock:
            for files in _watching:
                files.add(Path(name))


sys.addaudithook(_hear)


@contextlib.contextmanager
def opened() -> Iterator[set[Path]]:
    """Yield the set of data files that are opened in the block, by any thread of this process."""
    files: set[Path] = set()
    _watching.append(files)
    try:
        yield files
    finally:
        _watching.remove(files)
