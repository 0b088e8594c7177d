"""Disk images are converted wherever they lie."""

import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.tools.qemu import disk_image


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system in memory needs root")
def test_a_disk_is_converted_where_no_file_can_be_read_directly(tmp_path: Path) -> None:
    place, made = tmp_path / "memory", tmp_path / "made.raw"
    place.mkdir()
    # ramfs has no direct_IO (linux, fs/ramfs/file-mmu.c)
    subprocess.run(["mount", "-t", "ramfs", "none", place], check=True)
    try:
        (place / "disk.raw").write_bytes(b"disk" * 1024)
        with pytest.raises(OSError, match="Invalid argument"):
            os.open(place / "disk.raw", os.O_RDONLY | os.O_DIRECT)
        disk_image.convert(place / "disk.raw", "raw", made, "raw")
    finally:
        subprocess.run(["umount", place], check=True)
    assert made.read_bytes() == b"disk" * 1024
