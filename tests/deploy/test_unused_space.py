"""What lies outside of partitions, on disks with real tables (sfdisk's and ours)."""

import os
from pathlib import Path

import pytest

from imagebuild.deploy.disk_map import gaps
from imagebuild.deploy.unused_space import problems
from imagebuild.errors import BuildError
from imagebuild.tools import command
from tests.deploy.disks import made
from tests.kickstart.samples import BOTH, MIB, SMALL, read

WITH_REQPART = SMALL.replace("part /boot --size=300 --fstype=ext4", "reqpart --add-boot")


def put(disk: Path, place: int, data: bytes = b"hidden") -> None:
    with disk.open("r+b") as stream:
        stream.seek(place, os.SEEK_SET if place >= 0 else os.SEEK_END)
        stream.write(data)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return made(tmp_path, read(WITH_REQPART, firmware=BOTH))


def test_a_new_disk_has_nothing_there(disk: Path) -> None:
    assert problems(disk) == []


def test_a_disk_that_a_format_made_larger_has_nothing_there(disk: Path) -> None:
    os.truncate(disk, disk.stat().st_size + 4 * MIB)
    assert problems(disk) == []


def test_data_behind_the_last_partition(disk: Path) -> None:
    last = gaps(disk)[-1]
    put(disk, last.start)
    assert problems(disk) == [f"there is data in {last.name}, at byte {last.start} of the disk"]


def test_data_behind_the_end_of_the_table(disk: Path) -> None:
    size = disk.stat().st_size
    os.truncate(disk, size + 4 * MIB)
    put(disk, size + MIB)
    (problem,) = problems(disk)
    assert problem.endswith(f"at byte {size + MIB} of the disk")


@pytest.mark.parametrize("place", [512 + 92, 34 * 512, MIB - 6])
def test_data_beside_the_table(disk: Path, place: int) -> None:
    put(disk, place)
    assert problems(disk) == [
        f"there is data in the partition table and boot code, at byte {place} of the disk"
    ]


def test_data_in_the_unused_entries_of_the_copy_only(disk: Path) -> None:
    put(disk, -512 - 128)
    (problem,) = problems(disk)
    assert problem.startswith("there is data in the end of the disk")


def test_a_header_that_points_anywhere(disk: Path) -> None:
    put(disk, 512 + 32, b"\xff" * 8)
    (problem,) = problems(disk)
    assert problem.startswith("there is data in the end of the disk")


def test_no_table(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(MIB))
    with pytest.raises(BuildError):
        problems(tmp_path / "disk.raw")


def test_a_disk_with_another_table(tmp_path: Path) -> None:
    """Before its first partition lies GRUB's core image; behind the last is nothing."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(8 * MIB))
    command.run(["sfdisk", "--quiet", disk], stdin=b"label: dos\nstart=2048, size=2048\n", quiet=True)
    put(disk, 512)
    assert problems(disk) == []
    put(disk, -1, b"x")
    (problem,) = problems(disk)
    assert problem.endswith(f"at byte {8 * MIB - 1} of the disk")
