"""A fixed VHD, point by point as Azure reads it, and those that it would refuse."""

import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.formats import vhd
from imagebuild.formats.compressed import XzConfig
from imagebuild.formats.format import Source
from imagebuild.formats.vhd import VhdConfig
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import any_image
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image

MIB = 1 << 20
TCG = Accelerator(name="tcg", slowness=1, reason="")


@pytest.fixture
def written(source: Source, tmp_path: Path) -> Path:
    return vhd.write(source, tmp_path, "Test-1", VhdConfig())


def footer_of(file: Path) -> bytes:
    return file.read_bytes()[-512:]


def test_the_footer_point_by_point(source: Source, written: Path) -> None:
    """Offsets and values of the specification, "Hard Disk Footer Format"; Azure's conditions."""
    footer = footer_of(written)
    assert footer[:8] == b"conectix"
    assert struct.unpack_from(">I", footer, 12) == (0x00010000,)
    assert struct.unpack_from(">Q", footer, 16) == (2**64 - 1,)
    assert struct.unpack_from(">I", footer, 24) == (source.epoch - 946684800,)
    assert struct.unpack_from(">Q", footer, 48) == (written.stat().st_size - 512,)
    assert struct.unpack_from(">Q", footer, 48) == (64 * MIB,)
    assert struct.unpack_from(">I", footer, 60) == (2,), "fixed"
    without = footer[:64] + bytes(4) + footer[68:]
    assert struct.unpack_from(">I", footer, 64) == (~sum(without) & 0xFFFFFFFF,)
    assert vhd.problems(written) == []


def test_qemu_reads_the_same_disk(source: Source, written: Path) -> None:
    info = disk_image.info(written, "vpc")
    assert (info["virtual-size"], info["format"]) == (64 * MIB, "vpc")
    assert disk_image.compare(written, "vpc", source.disk.file, "raw")[0]
    # holes stay holes here, though a VHD has every byte
    assert written.stat().st_blocks * 512 < 16 * MIB


def test_vhds_of_two_commits_are_two_disks(source: Source, written: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = vhd.write(replace(source, seed="12" * 32), tmp_path / "other", "Test-1", VhdConfig())
    assert footer_of(other)[68:84] != footer_of(written)[68:84]


def test_a_disk_that_is_not_of_whole_mebibytes_is_an_error(source: Source, tmp_path: Path) -> None:
    odd = replace(source, disk=replace(source.disk, size=64 * MIB + 512))
    with pytest.raises(BuildError, match="whole MiB only"):
        vhd.write(odd, tmp_path, "Test-1", VhdConfig())


def set_field(offset: int, data: bytes, *, sum_again: bool = True) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        footer = bytearray(footer_of(file))
        footer[offset : offset + len(data)] = data
        if sum_again:
            struct.pack_into(">I", footer, 64, vhd.checksum(footer))
        with file.open("r+b") as stream:
            stream.seek(-512, 2)
            stream.write(footer)

    return damage


def cut(file: Path, size: int) -> None:
    with file.open("r+b") as stream:
        stream.truncate(size)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (set_field(0, b"conectiX"), "does not end in a VHD's footer"),
        (set_field(200, b"x", sum_again=False), "the checksum of its footer is"),
        (set_field(60, b"\0\0\0\3"), "it is of type 3, not a fixed VHD"),
        (set_field(12, b"\0\2\0\0"), "of version 00020000"),
        (set_field(48, (63 * MIB).to_bytes(8, "big")), "says 66060288 bytes, but there are 67108864"),
        (set_field(48, (2**63).to_bytes(8, "big")), "Azure's largest is"),
        (lambda file: cut(file, 10 * MIB), "is it a whole download"),
        (lambda file: cut(file, 100), "is it a whole download"),
        (lambda file: cut(file, 0), "is it a whole download"),
    ],
)
def test_what_azure_would_refuse_is_refused(
    written: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(written)
    with pytest.raises(BuildError, match=said):
        vhd.unpack(written, tmp_path)


def test_one_that_virtualbox_rounded_is_not_azures_and_is_tested_all_the_same(tmp_path: Path) -> None:
    """Without force_size qemu-img rounds to cylinders as Virtual PC did (QEMU 10.0, block/vpc.c)."""
    (tmp_path / "raw").write_bytes((b"boot".ljust(510, b".") + b"\x55\xaa").ljust(5 * MIB, b"\0"))
    file = tmp_path / "rounded.vhd"
    subprocess.run(
        ["qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed", tmp_path / "raw", file], check=True
    )
    assert any_image.recognise(file) == "vhd"
    assert any("whole MiB" in problem for problem in any_image.refused_for(file))
    with any_image.opened(file, tmp_path, Firmware.BIOS, TCG) as (unpacked, _):
        assert (unpacked.format, unpacked.controller) == ("vpc", Controller.IDE)


def test_the_compressed_one_holds_the_same(source: Source, written: Path, tmp_path: Path) -> None:
    packed = vhd.write_xz(source, tmp_path, "Test-1", XzConfig(level=0))
    assert packed.name == "Test-1.vhdfixed.xz"
    (tmp_path / "out").mkdir()
    assert vhd.unpack_xz(packed, tmp_path / "out").disk.read_bytes() == written.read_bytes()
    packed.write_bytes(packed.read_bytes()[:-50])
    with pytest.raises(BuildError, match="is damaged"):
        vhd.unpack_xz(packed, tmp_path / "out")
