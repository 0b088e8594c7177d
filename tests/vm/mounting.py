"""File systems of a disk."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from imagebuild.tools import loop


@contextlib.contextmanager
def mounted(disk: Path, start: int, size: int, options: str, place: Path) -> Iterator[Path]:
    """Mount a part of a disk read-only."""
    place.mkdir(parents=True)
    with loop.attached(disk, offset=start, size=size, read_only=True) as device:
        subprocess.run(["mount", "-o", options, device, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
