"""What a remote lies on does the same, whether it is mounted or a bucket."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.engine.addresses import open_drive
from imagebuild.engine.drives import Drive
from imagebuild.engine.mounted_drive import MountedDrive
from tests.engine.remotes import serving, share


@pytest.fixture(params=["mounted", "bucket"])
def drive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
    if request.param == "mounted":
        yield open_drive(share(tmp_path))
    else:
        with serving(monkeypatch) as server:
            yield open_drive(server.url)


def test_objects_are_written_read_listed_and_removed(drive: Drive, tmp_path: Path) -> None:
    assert drive.read("results/a/b.json", 100) is None
    assert drive.look("results/a/b.json") is None
    assert drive.listing("results/") == {}
    drive.remove("results/a/b.json")
    drive.write("results/a/b.json", b"0123456789")
    drive.write("results/a/b.json", b"9876543210")
    assert drive.read("results/a/b.json", 100) == b"9876543210"
    assert drive.read("results/a/b.json", 4) == b"9876"
    assert drive.part("results/a/b.json", 2, 5) == b"765"
    assert drive.part("results/a/b.json", 8, 20) == b"10", "as much as there is"
    file = drive.spool(tmp_path / "spool") / "file"
    file.write_bytes(b"pack")
    drive.send("blobs/aa/aa", file)
    assert {name: seen.size for name, seen in drive.listing("").items() if "/" in name} == {
        "results/a/b.json": 10,
        "blobs/aa/aa": 4,
    }
    assert set(drive.listing("blobs/")) == {"blobs/aa/aa"}
    seen = drive.look("blobs/aa/aa")
    assert seen is not None
    assert abs(seen.modified - tmp_path.stat().st_mtime) < 60
    drive.remove("blobs/aa/aa")
    assert drive.look("blobs/aa/aa") is None
    with pytest.raises(OSError, match=r"blobs/aa/aa|does not exist"):
        drive.part("blobs/aa/aa", 0, 4)


def test_what_is_there_is_not_created_again(drive: Drive) -> None:
    assert drive.create("results/a/b.json", b"first")
    assert not drive.create("results/a/b.json", b"second")
    assert drive.read("results/a/b.json", 100) == b"first"


def test_a_share_without_hard_links_creates_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    drive = open_drive(share(tmp_path))
    assert isinstance(drive, MountedDrive)
    monkeypatch.setattr(os, "link", link)
    assert drive.create("results/a/b.json", b"first")
    assert not drive.create("results/a/b.json", b"second")
    assert drive.read("results/a/b.json", 100) == b"first"
    assert not list((tmp_path / "share" / "partial").iterdir())


def test_a_file_that_lies_elsewhere_is_copied_to_a_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = open_drive(share(tmp_path))
    (tmp_path / "file").write_bytes(b"pack")
    real = Path.rename

    def rename(file: Path, target: Path) -> Path:
        if file == tmp_path / "file":
            raise OSError(18, "Invalid cross-device link")
        return real(file, target)

    monkeypatch.setattr(Path, "rename", rename)
    drive.send("blobs/aa/aa", tmp_path / "file")
    assert drive.read("blobs/aa/aa", 100) == b"pack"
    assert not list((tmp_path / "share" / "partial").iterdir())


def test_what_is_being_written_is_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it was renamed: nobody finds half of it."""
    drive = open_drive(share(tmp_path))

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            drive.write("builds/x.json", b"{}")
    assert drive.listing("builds/") == {}
    drive.write("builds/x.json", b"{}")
    assert list(drive.listing("builds/")) == ["builds/x.json"]


def test_a_full_share_without_hard_links_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = open_drive(share(tmp_path))

    def link(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", link)
        with pytest.raises(OSError, match="No space"):
            drive.create("results/a/b.json", b"first")
    assert drive.read("results/a/b.json", 100) is None
    assert drive.create("results/a/b.json", b"first")
