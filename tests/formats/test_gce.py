"""Compute Engine's archive, point by point as `tar` and Python read it, and those that it would refuse."""

import gzip
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.formats import bounded, gce
from imagebuild.formats.format import Source
from imagebuild.formats.gce import GceConfig
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import any_image
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image

MIB, GIB = 1 << 20, 1 << 30
TCG = Accelerator(name="tcg", slowness=1, reason="")


@pytest.fixture
def written(source: Source, tmp_path: Path) -> Path:
    return gce.write(source, tmp_path, "Test-1", GceConfig(level=1))


def test_an_archive_point_by_point(source: Source, written: Path) -> None:
    assert written.name == "Test-1.tar.gz"
    assert written.read_bytes()[:3] == b"\x1f\x8b\x08"
    with gzip.open(written) as stream:
        head = stream.read(512)
    assert head[257:265] == b"ustar  \0", "GNU's format: POSIX' would have ustar, a NUL and a version"
    listed = subprocess.run(
        ["tar", "--utc", "--numeric-owner", "-tvzf", written], capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed == ["-rw-r--r--", "0/0", str(GIB), "2020-09-13", "12:26", "disk.raw"]
    assert source.epoch == 1_600_000_000


def test_the_disk_is_made_whole_gibibytes_large(source: Source, written: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    unpacked = gce.unpack(written, out)
    assert (unpacked.format, unpacked.controller) == ("raw", Controller.VIRTIO_SCSI)
    assert unpacked.disk.stat().st_size == GIB
    assert unpacked.disk.stat().st_blocks * 512 < 16 * MIB, "what is empty are holes"
    with unpacked.disk.open("rb") as disk:
        assert disk.read(source.disk.size) == source.disk.file.read_bytes()


def test_one_made_by_tar_as_googles_page_says_is_taken(tmp_path: Path) -> None:
    """`tar --format=oldgnu -Sczf`: a sparse member, of type S."""
    with (tmp_path / "disk.raw").open("wb") as disk:
        disk.write(b"boot code".ljust(510, b".") + b"\x55\xaa")
        disk.seek(300 * MIB)
        disk.write(b"more")
        disk.truncate(GIB)
    file = tmp_path / "image.tar.gz"
    subprocess.run(["tar", "--format=oldgnu", "-Sczf", file, "disk.raw"], check=True, cwd=tmp_path)
    assert gce.problems(file) == []
    assert any_image.recognise(file) == "gce"
    (tmp_path / "out").mkdir()
    unpacked = gce.unpack(file, tmp_path / "out").disk
    assert disk_image.compare(unpacked, "raw", tmp_path / "disk.raw", "raw") == (
        True,
        "Images are identical.",
    )


def packed(tmp_path: Path, members: list[tuple[str, bytes, int]], form: int = tarfile.GNU_FORMAT) -> Path:
    """Write an archive of (name, type, size) whose members are empty."""
    file = tmp_path / "image.tar.gz"
    with (
        gzip.open(file, "wb", compresslevel=1) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=form) as tar,
    ):
        for name, kind, size in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, size, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info, io.BytesIO(bytes(size)))
    return file


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("disk.raw", tarfile.REGTYPE, 10 * MIB)], "10485760 bytes, which is not in whole GiB"),
        ([("disk.raw", tarfile.REGTYPE, 0)], "has 0 bytes"),
        ([("../disk.raw", tarfile.REGTYPE, 0)], r"'\.\./disk\.raw' besides one plain disk\.raw"),
        ([("/disk.raw", tarfile.REGTYPE, 0)], "besides one plain"),
        ([("./disk.raw", tarfile.REGTYPE, 0)], "besides one plain"),
        ([("disk.raw", tarfile.SYMTYPE, 0)], "besides one plain"),
        ([("disk.raw", tarfile.CHRTYPE, 0)], "besides one plain"),
        ([("disk.raw", tarfile.REGTYPE, 1 * MIB), ("disk.raw", tarfile.REGTYPE, 0)], "besides one plain"),
        (
            [("disk.raw", tarfile.REGTYPE, 1 * MIB), ("notes", tarfile.REGTYPE, 0)],
            "'notes' besides one plain",
        ),
        ([], "has no disk.raw"),
    ],
)
def test_what_compute_engine_would_refuse_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes, int]], said: str
) -> None:
    file = packed(tmp_path, members)
    (tmp_path / "out").mkdir()
    with pytest.raises(BuildError, match=said):
        gce.unpack(file, tmp_path / "out")
    assert {path.name for path in tmp_path.rglob("*")} <= {"image.tar.gz", "out", "disk.raw"}


def test_posix_headers_are_refused_and_tested_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes((b"boot code".ljust(510, b".") + b"\x55\xaa").ljust(MIB, b"\0"))
    file = tmp_path / "image.tar.gz"
    subprocess.run(["tar", "--format=posix", "-czf", file, "disk.raw"], check=True, cwd=tmp_path)
    assert any("GNU's format" in problem for problem in any_image.refused_for(file))
    (tmp_path / "work").mkdir()
    with any_image.opened(file, tmp_path / "work", Firmware.BIOS, TCG) as (unpacked, _):
        assert unpacked.format == "raw"


def test_half_a_download_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(os.urandom(4 * MIB).ljust(GIB // 64, b"\0"))
    file = tmp_path / "image.tar.gz"
    subprocess.run(["tar", "--format=gnu", "-czf", file, "disk.raw"], check=True, cwd=tmp_path)
    file.write_bytes(file.read_bytes()[: 2 * MIB])
    with pytest.raises(BuildError, match="is damaged"):
        gce.unpack(file, tmp_path)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "LARGEST", GIB // 2)
    file = packed(tmp_path, [("disk.raw", tarfile.REGTYPE, GIB)])
    with pytest.raises(BuildError, match="its disk has 1 GiB"):
        gce.unpack(file, tmp_path)
    monkeypatch.setattr(bounded, "LARGEST", GIB)
    monkeypatch.setattr(bounded, "RESERVE", 1 << 60)
    (tmp_path / "disk.raw").write_bytes(b"x" * MIB)
    subprocess.run(["tar", "--format=gnu", "-czf", file, "disk.raw"], check=True, cwd=tmp_path)
    with pytest.raises(BuildError, match="there is no room"):
        gce.unpack(file, tmp_path)
