"""Packs: what went in comes out, with holes; what is not what it should be is refused, and nothing lies
elsewhere.
"""

import hashlib
import io
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from imagebuild.engine.packs import (
    BLOCK,
    CHUNK,
    END,
    MAGIC,
    RUN,
    DamagedPackError,
    Pack,
    read_pack,
    write_pack,
)

NOISE = random.Random(7).randbytes(3 * CHUNK + 12345)


def anything(name: str, size: int) -> bool:
    return True


def unpack(
    file: Path, pack: Pack, into: Path, expects: Callable[[str, int], bool] = anything, **said: object
) -> list[str]:
    known: dict[str, object] = {"sha256": pack.sha256, "size": pack.size} | said
    into.mkdir()
    with file.open("rb") as stream:
        return read_pack(stream, into, expects, sha256=str(known["sha256"]), size=int(str(known["size"])))


def test_files_come_out_as_they_went_in(tmp_path: Path) -> None:
    contents = {
        "out/a": b"",
        "out/b/c": b"x" * BLOCK,
        "out/d": NOISE,
        "out/e": bytes(CHUNK) + b"y",
        "log": b"said",
    }
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "out/b/c").chmod(0o4750)
    pack = write_pack({name: tmp_path / name for name in contents}, tmp_path / "pack")
    assert pack.sha256 == hashlib.sha256((tmp_path / "pack").read_bytes()).hexdigest()
    assert unpack(tmp_path / "pack", pack, tmp_path / "new") == list(contents)
    for name, data in contents.items():
        assert (tmp_path / "new" / name).read_bytes() == data
    assert (tmp_path / "new/out/b/c").stat().st_mode & 0o7777 == 0o4750


def test_holes_stay_holes_and_take_no_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as stream:
        stream.truncate(64 << 30)
        for offset in (0, 5 * CHUNK + 17, (64 << 30) - 1000):
            stream.seek(offset)
            stream.write(NOISE[:1000])
    pack = write_pack({"disk.raw": disk}, tmp_path / "pack")
    assert pack.size < 4 * BLOCK
    unpack(tmp_path / "pack", pack, tmp_path / "new")
    new = tmp_path / "new" / "disk.raw"
    assert new.stat().st_size == 64 << 30
    assert new.stat().st_blocks * 512 <= 8 * BLOCK
    with new.open("rb") as stream:
        for offset in (0, 5 * CHUNK + 17, (64 << 30) - 1000):
            stream.seek(offset)
            assert stream.read(1000) == NOISE[:1000]


def test_the_same_content_is_the_same_pack_wherever_its_holes_are(tmp_path: Path) -> None:
    content = NOISE[:BLOCK] + bytes(3 * CHUNK) + NOISE[:100]
    (tmp_path / "dense").write_bytes(content)
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(len(content))
        os.pwrite(stream.fileno(), NOISE[:BLOCK], 0)
        os.pwrite(stream.fileno(), NOISE[:100], BLOCK + 3 * CHUNK)
    packs = [write_pack({"disk": tmp_path / name}, tmp_path / f"{name}.pack") for name in ("dense", "sparse")]
    assert packs[0] == packs[1]
    (tmp_path / "other").write_bytes(content[:-1] + b"?")
    other = write_pack({"disk": tmp_path / "other"}, tmp_path / "other.pack")
    assert other.files["disk"].digest != packs[0].files["disk"].digest


def test_a_cut_or_changed_pack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(NOISE)
    pack = write_pack({"a": tmp_path / "a"}, tmp_path / "pack")
    whole = (tmp_path / "pack").read_bytes()
    for number, (data, why) in enumerate(
        [
            (whole[: len(whole) // 2], "ends too early|does not match|decompressed"),
            (whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "decompressed|does not match|do not match"),
            (whole + b"more", "more follows|decompressed"),
            (b"not a pack", "decompressed"),
        ]
    ):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(DamagedPackError, match=why):
            unpack(tmp_path / "bad", pack, tmp_path / f"new{number}")
    with pytest.raises(DamagedPackError, match="its bytes do not match the sha256 in its name"):
        unpack(tmp_path / "pack", pack, tmp_path / "named", sha256="0" * 64)


def made(*pieces: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(b"".join(pieces))


def head(**changed: object) -> bytes:
    return json.dumps({"name": "a", "size": 4, "mode": 0o644} | changed).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (made(b"something else altogether"), "it is not a pack of files"),
        (made(MAGIC, b"[]\n"), "does not say what is in it"),
        (made(MAGIC, head(size="x")), "does not say what is in it"),
        (made(MAGIC, head(name="../a"), END), "which nobody expects"),
        (made(MAGIC, head(size=5), END), "which nobody expects"),
        (made(MAGIC, head(), RUN.pack(2, 4), b"1234", END), "does not fit"),
        (made(MAGIC, head(), RUN.pack(0, CHUNK + 1)), "does not fit"),
        (made(MAGIC, head(), RUN.pack(0, 4), b"12"), "ends too early"),
        (made(MAGIC, head()), "ends too early"),
        # a gigabyte of zeros in a few bytes, which nobody asked for
        (made(MAGIC, head(name="bomb", size=1 << 30), RUN.pack(0, CHUNK), bytes(1 << 24)), "nobody expects"),
    ],
)
def test_nothing_in_a_pack_is_believed(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(DamagedPackError, match=why):
        read_pack(
            io.BytesIO(data),
            tmp_path,
            lambda name, size: (name, size) == ("a", 4),
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
        )
    assert not [file for file in tmp_path.rglob("*") if file.name != "a"]


def test_a_pack_of_a_window_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(MAGIC + NOISE) + compressor.flush()
    with pytest.raises(DamagedPackError, match="cannot be decompressed"):
        read_pack(io.BytesIO(data), tmp_path, anything, sha256="", size=0)
