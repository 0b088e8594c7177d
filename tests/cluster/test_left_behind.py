"""What a worker says that a step left: bounded, and inside of its directory, whatever the archive says."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from imagebuild.cluster import evidence


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


GOOD = gzip.compress(archive((member("log", 1), b"x")))
LARGE = member("log", evidence.LARGEST_TOGETHER * 2).tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "data",
    [GOOD[:-20], GOOD[:20], b"", gzip.compress(LARGE), gzip.compress(archive((member("../x", 1), b"x"))),
     gzip.compress(b"\0" * 100 + LARGE)],
    ids=["cut", "cut early", "empty", "a bomb", "elsewhere", "no archive"],
)  # fmt: skip
def test_what_is_not_an_archive_of_ours_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises((tarfile.TarError, OSError)):
        evidence.unpack(data, tmp_path / "left")
    assert not list(tmp_path.rglob("*"))


def test_what_is_one_is_unpacked(tmp_path: Path) -> None:
    evidence.unpack(GOOD, tmp_path / "left")
    assert (tmp_path / "left" / "log").read_bytes() == b"x"
