"""A small disk that downloads are made of."""

import os
from pathlib import Path

import pytest

from imagebuild.formats.format import Source
from imagebuild.model import Disk

MIB = 1 << 20


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """A disk of 64 MiB: some noise, a hole, some text, a hole at the end."""
    file = tmp_path / "disk.raw"
    with file.open("wb") as disk:
        disk.write(os.urandom(3 * MIB))
        disk.seek(20 * MIB)
        disk.write(b"text " * MIB)
        disk.truncate(64 * MIB)
    disk_model = Disk(file=file, format="raw", size=64 * MIB, firmware=frozenset(), populated="test")
    return Source(
        disk=disk_model, title="Test <Host> & co", os_id="fedora", seed="abcdef01" * 8, epoch=1_600_000_000
    )
