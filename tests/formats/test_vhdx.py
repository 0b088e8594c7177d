"""A VHDX, point by point, and those that Hyper-V would refuse."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.formats import vhdx
from imagebuild.formats.format import Source
from imagebuild.formats.vhdx import VhdxConfig
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image

MIB = 1 << 20
METADATA = 3 * MIB


@pytest.fixture
def written(source: Source, tmp_path: Path) -> Path:
    return vhdx.write(source, tmp_path, "Test-1", VhdxConfig())


def test_crc32c_is_castagnolis() -> None:
    """RFC 3720, B.4, "CRC Examples"."""
    assert vhdx.crc32c(bytes(32)) == 0x8A9136AA
    assert vhdx.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert vhdx.crc32c(bytes(range(32))) == 0x46DD794E


def test_a_vhdx_point_by_point(written: Path) -> None:
    """Places of the specification; the sequence number of the second header is the larger one."""
    data = written.read_bytes()
    assert data[:8] == b"vhdxfile"
    for number, place in ((1, 65536), (2, 131072)):
        header = data[place : place + 4096]
        assert header[:4] == b"head"
        assert struct.unpack_from("<IQ", header, 4) == (
            vhdx.crc32c(header[:4] + bytes(4) + header[8:]),
            number,
        )
        assert header[48:64] == bytes(16), "the log is not in use"
        assert struct.unpack_from("<IQ", header, 68) == (MIB, MIB)
    assert data[MIB : 2 * MIB] == bytes(MIB), "nothing is left in the log"
    assert vhdx.problems(written) == []


@pytest.mark.parametrize("block", [1, 8, 256])
def test_qemu_reads_the_same_disk_and_finds_nothing_wrong(source: Source, tmp_path: Path, block: int) -> None:
    file = vhdx.write(source, tmp_path, "Test-1", VhdxConfig.model_validate({"block": block}))
    info = disk_image.info(file, "vhdx")
    assert (info["virtual-size"], info["format"]) == (64 * MIB, "vhdx")
    assert disk_image.compare(file, "vhdx", source.disk.file, "raw")[0]
    status, said = command.status(["qemu-img", "check", "-f", "vhdx", file])
    assert status == 0, said
    assert vhdx.problems(file) == []


def test_a_block_is_a_power_of_two() -> None:
    for block in (0, 3, 512):
        with pytest.raises(ValueError, match="block"):
            VhdxConfig.model_validate({"block": block})


def put(place: int, data: bytes) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with file.open("r+b") as stream:
            stream.seek(place)
            stream.write(data)

    return damage


def both(*damages: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        for one in damages:
            one(file)

    return damage


def set_region(number: int, offset: int, data: bytes) -> Callable[[Path], None]:
    """Change an entry of both region tables, whose checksums hold afterwards."""

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes()[196608:262144])
        start = 16 + number * 32 + offset
        content[start : start + len(data)] = data
        content[4:8] = bytes(4)
        struct.pack_into("<I", content, 4, vhdx.crc32c(bytes(content)))
        both(put(196608, bytes(content)), put(262144, bytes(content)))(file)

    return damage


def cut(size: int) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with file.open("r+b") as stream:
            stream.truncate(size)

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (put(0, b"vhdXfile"), "does not begin as a VHDX does"),
        (both(put(65546, b"x"), put(131082, b"x")), "neither of its two headers is intact"),
        (both(put(65536, b"x"), put(131072, b"x")), "neither of its two headers is intact"),
        (both(put(196640, b"x"), put(262176, b"x")), "neither of its two region tables is intact"),
        (set_region(1, 0, bytes(16)), "no region of metadata"),
        (set_region(1, 16, b"\xff" * 8), "ends too early"),
        (set_region(1, 24, bytes(4)), "its region of metadata has 0 bytes"),
        (set_region(0, 16, (MIB + 1).to_bytes(8, "little")), "is not in whole MiB of the file"),
        (set_region(0, 24, b"\0\0\0\xf0"), "is not in whole MiB of the file"),
        (put(METADATA, b"x"), "has no table"),
        (put(METADATA + 10, b"\xff\xff"), "has no table"),
        (put(METADATA + 32, bytes(16)), "lacks block size"),
        (put(METADATA + 65536, b"\0\0\x30\0"), "its blocks have 3145728 bytes"),
        (put(METADATA + 65540, b"\2"), "it reads from a parent"),
        (put(METADATA + 65544, b"\1"), "its disk has 67108865 bytes"),
        (put(METADATA + 65544, bytes(8)), "its disk has 0 bytes"),
        (cut(100), "ends too early"),
        (cut(0), "does not begin"),
        (cut(METADATA + 10), "ends too early"),
    ],
)
def test_what_hyper_v_would_refuse_is_refused(
    written: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(written)
    with pytest.raises(BuildError, match=said):
        vhdx.unpack(written, tmp_path)


def test_one_of_two_headers_is_enough(written: Path) -> None:
    put(131082, b"x")(written)
    assert vhdx.problems(written) == []


def test_a_qemu_that_wrote_something_else_is_noticed(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(*_: object, **__: object) -> None:
        (tmp_path / "Test-1.vhdx").write_bytes(b"vhdxfile".ljust(8 * MIB, b"\0"))

    monkeypatch.setattr(disk_image, "convert", convert)
    with pytest.raises(BuildError, match="neither of its two headers is intact"):
        vhdx.write(source, tmp_path, "Test-1", VhdxConfig())
