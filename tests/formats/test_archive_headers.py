"""Archives whose headers ask for more memory than anybody has."""

import io
import tarfile
from pathlib import Path

import pytest

from imagebuild.formats.bounded import HEADERS, LARGEST_HEADER, CheckedInfo


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("mode", ["r:", "r|"])
def test_a_header_that_is_too_large_is_not_read(kind: bytes, mode: str) -> None:
    head = tarfile.TarInfo("x")
    head.type, head.size = kind, 50 << 30
    stream = io.BytesIO(head.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    with (
        pytest.raises(tarfile.ReadError, match="a header of 53687091200 bytes"),
        tarfile.open(
            fileobj=stream,
            mode=mode,
            tarinfo=CheckedInfo,  # type: ignore[call-overload]  # one of both
        ) as tar,
    ):
        list(tar)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(form: int, tmp_path: Path) -> None:
    name = "d/" * 200 + "x"
    assert len(name) < LARGEST_HEADER
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as tar:
        tar.addfile(tarfile.TarInfo(name))
    with tarfile.open(tmp_path / "x.tar", "r:", tarinfo=CheckedInfo) as tar:
        assert tar.getnames() == [name]
