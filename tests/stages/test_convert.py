"""A download knows how much of its disk is in use."""

import dataclasses
import os
from pathlib import Path

from imagebuild import steplog
from imagebuild.formats.qcow2 import Qcow2Config
from imagebuild.model import Disk
from imagebuild.stages.convert import convert_disk
from imagebuild.tools.qemu import disk_image
from tests.stages.trees import TREE

MIB = 1 << 20


def disk_of(file: Path) -> Disk:
    """A disk of 64 MiB with 3 in use."""
    with file.open("wb") as stream:
        stream.truncate(64 * MIB)
        stream.seek(8 * MIB)
        stream.write(b"x" * 3 * MIB)
    return Disk(file=file, format="raw", size=64 * MIB, firmware=frozenset(), populated="test")


def test_what_is_in_use_is_said(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.raw")
    (tmp_path / "out").mkdir()
    with steplog.writing_to(tmp_path / "log"):
        image = convert_disk(tmp_path / "out", TREE, disk, "qcow2", "Test", Qcow2Config(), None)
    assert image.content == 3 * MIB
    assert "of the disk's 64 MiB 3 are in use" in (tmp_path / "log").read_text()


def test_zeros_do_not_count_whether_they_are_holes_or_not(tmp_path: Path) -> None:
    """Where a file system has holes is different on each machine that a disk comes to."""
    disk = disk_of(tmp_path / "disk.raw")
    with disk.file.open("r+b") as stream:
        stream.seek(20 * MIB)
        stream.write(bytes(4 * MIB))
        os.fsync(stream.fileno())
    assert disk_image.content_size(disk.file, "raw") == 3 * MIB


def test_an_overlay_counts_what_it_reads_from(tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "disk.raw")
    overlay = tmp_path / "disk.qcow2"
    disk_image.make_overlay(overlay, disk.file, "raw", size=128 * MIB)
    assert disk_image.content_size(overlay, "qcow2") == 3 * MIB
    derived = dataclasses.replace(disk, file=overlay, format="qcow2", size=128 * MIB)
    (tmp_path / "out").mkdir()
    image = convert_disk(tmp_path / "out", TREE, derived, "qcow2", "Test", Qcow2Config(), None)
    assert (image.content, image.disk_size) == (3 * MIB, 128 * MIB)
