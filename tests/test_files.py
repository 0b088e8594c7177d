"""Files that are replaced, made once, locked."""

import errno
import os
from pathlib import Path

import pytest

from imagebuild import files
from imagebuild.errors import BuildError


def test_links_to_what_is_replaced_keep_it(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    files.replace(file, "old")
    link.hardlink_to(file)
    files.replace(file, b"new", mode=0o600)
    assert (file.read_text(), link.read_text()) == ("new", "old")
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "link"]


def test_a_file_is_created_once(tmp_path: Path) -> None:
    files.create(tmp_path / "file", "first")
    with pytest.raises(FileExistsError):
        files.create(tmp_path / "file", "second")
    assert (tmp_path / "file").read_text() == "first"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "lock"
    with (
        files.locked(lock, busy="somebody is at work"),
        pytest.raises(BuildError, match="somebody is at work"),
        files.locked(lock, busy="somebody is at work"),
    ):
        pass
    with lock.open("a") as first, lock.open("a") as second:
        assert files.try_lock(first.fileno())
        assert not files.try_lock(second.fileno())


def test_what_is_synced_may_hold_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text("x")
    (tmp_path / "below" / "link").symlink_to("nothing")
    files.sync_tree(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_what_a_machine_lacks_is_said_with_its_place(tmp_path: Path, number: int) -> None:
    file = tmp_path / "not" / "there"
    error = OSError(number, os.strerror(number), str(file))
    for given in (error, OSError(number, os.strerror(number))):
        said = files.explained(given, file)
        assert said is not None
        assert said.message.startswith(f"{file}: {os.strerror(number)}")
        assert ("are free there" in said.message) == (number in (errno.ENOSPC, errno.EDQUOT))
        assert said.hint


def test_what_a_program_does_wrong_is_not_the_machines() -> None:
    assert files.explained(OSError(errno.EBADF, "Bad file descriptor")) is None
    assert files.explained(IsADirectoryError(errno.EISDIR, "Is a directory", "x")) is None


def test_an_error_names_the_file_that_is_written() -> None:
    # the kernel's own full disk: full(4); the error of a write has no name
    with (
        pytest.raises(OSError, match=r"No space left on device: '/tmp/wanted'"),
        files.naming(Path("/tmp/wanted")),
    ):
        Path("/dev/full").write_text("x")
    with pytest.raises(FileNotFoundError, match="/nowhere/x"), files.naming(Path("/tmp/wanted")):
        Path("/nowhere/x").read_bytes()
