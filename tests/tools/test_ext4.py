"""What e2fsck says of real file systems, told apart: damage, and what a mount leaves."""

from pathlib import Path

from imagebuild.tools import command, ext4


def made(file: Path) -> Path:
    with file.open("wb") as stream:
        stream.truncate(64 << 20)
    command.run(["mke2fs", "-q", "-t", "ext4", "-O", "orphan_file", file])
    return file


def test_one_that_was_mounted_when_the_power_went_is_whole(tmp_path: Path) -> None:
    file = made(tmp_path / "disk")
    assert ext4.problems(file) is None
    # what Linux sets while it is mounted
    command.run(["debugfs", "-w", "-R", "feature orphan_present", file])
    assert "orphan_present" in command.status(["e2fsck", "-fn", file])[1]
    assert ext4.problems(file) is None


def test_damage_beside_it_is_said(tmp_path: Path) -> None:
    file = made(tmp_path / "disk")
    command.run(["debugfs", "-w", "-R", "feature orphan_present", file])
    command.run(["debugfs", "-w", "-R", "set_inode_field <2> links_count 9", file])
    found = ext4.problems(file)
    assert found is not None
    assert "Fix? no" in command.status(["e2fsck", "-fn", file])[1]
