"""Object stores: any that fsspec has a driver for, without a server."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from imagebuild.destinations.bucket import DRIVERS, Bucket
from imagebuild.destinations.registry import DESTINATIONS, forms, open_destination
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools.checksum import HashedFile, hashed


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    found = open_destination("memory://releases/stable")
    assert isinstance(found, Bucket)
    yield found
    found.system.store.clear()


@pytest.fixture
def release(tmp_path: Path) -> tuple[Path, dict[str, HashedFile]]:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "disk.qcow2").write_bytes(b"disk")
    (tmp_path / "images" / "A-CHECKSUM").write_bytes(b"list")
    names = ("images/disk.qcow2", "images/A-CHECKSUM")
    return tmp_path, {name: hashed(tmp_path / name, name) for name in names}


def test_a_release_is_sent_once(bucket: Bucket, release: tuple[Path, dict[str, HashedFile]]) -> None:
    directory, entries = release
    assert bucket.address == "memory://releases/stable"
    assert bucket.upload(directory, "one", entries) == 2
    assert bucket.upload(directory, "one", entries) == 0
    assert bucket.read("one/images/disk.qcow2") == b"disk"
    assert bucket.read("one/nothing") is None
    bucket.write("one/images/disk.qcow2", b"disc")
    assert bucket.upload(directory, "one", entries) == 1, "what is there is looked at, not only its size"


def test_what_was_not_sent_is_said_with_its_address(
    bucket: Bucket, release: tuple[Path, dict[str, HashedFile]], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, entries = release
    monkeypatch.setattr(type(bucket.system), "put_file", lambda *_: None)
    with pytest.raises(
        BuildError, match=r"memory://releases/stable/one/images/disk\.qcow2 is not what was sent"
    ):
        bucket.upload(directory, "one", entries)


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "imagebuild[s3]"), ("gs", "gcsfs"), ("abfs", "adlfs")]
)
def test_a_missing_driver_is_a_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, DRIVERS[scheme], None)
    # a driver that was used is remembered
    monkeypatch.delitem(import_module("fsspec.registry")._registry, scheme, raising=False)
    with pytest.raises(
        MissingToolError, match=f"{scheme}:// needs the Python package {DRIVERS[scheme]}"
    ) as caught:
        open_destination(f"{scheme}://bucket/path")
    assert package in caught.value.hint


def test_people_are_told_of_what_is_documented() -> None:
    assert forms() == "file:///PATH, s3://BUCKET/PATH, rsync://HOST/MODULE/PATH or ssh://HOST/PATH"
    assert {"gs", "abfs", "memory"} <= set(DESTINATIONS)
