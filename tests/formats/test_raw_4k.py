"""Raw disks for drives with blocks of 4096 bytes, with tables as fdisk writes them, and those of others."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from imagebuild.errors import BuildError, UsageError
from imagebuild.formats import raw_4k
from imagebuild.formats.compressed import XzConfig
from imagebuild.formats.format import Source
from imagebuild.kinds import Controller, Firmware
from imagebuild.release_line.images import ImageConfig
from imagebuild.smoke import any_image
from imagebuild.tools.accelerator import Accelerator

MIB = 1 << 20
TCG = Accelerator(name="tcg", slowness=1, reason="")


def disk_of(file: Path, block: int, size: int = 64 * MIB) -> Path:
    """Make a disk with a GPT for blocks of a size, by util-linux' own fdisk."""
    with file.open("wb") as stream:
        stream.truncate(size)
    subprocess.run(
        ["fdisk", "--sector-size", str(block), "--wipe", "always", file],
        input=b"g\nn\n1\n\n+16M\nw\n",
        check=True,
        capture_output=True,
    )
    return file


@pytest.fixture
def source_4k(source: Source, tmp_path: Path) -> Source:
    file = disk_of(tmp_path / "4k.raw", 4096)
    return replace(source, disk=replace(source.disk, file=file, sector_size=4096))


def test_a_disk_for_4k_blocks_is_written_and_read(source_4k: Source, tmp_path: Path) -> None:
    file = raw_4k.write(source_4k, tmp_path, "Test-1", XzConfig(level=0))
    assert file.name == "Test-1.4k.raw.xz"
    (tmp_path / "out").mkdir()
    unpacked = raw_4k.unpack(file, tmp_path / "out")
    assert (unpacked.controller, unpacked.sector_size) == (Controller.NVME_4K, 4096)
    assert unpacked.disk.read_bytes() == source_4k.disk.file.read_bytes()
    again = raw_4k.write(source_4k, tmp_path / "out", "Test-1", XzConfig(level=0))
    assert again.read_bytes() == file.read_bytes()


def test_a_512_byte_layout_is_refused_before_anything_is_booted(source: Source, tmp_path: Path) -> None:
    disk = disk_of(tmp_path / "512.raw", 512)
    with pytest.raises(BuildError, match="its partition table is for blocks of 512 bytes"):
        raw_4k.write(
            replace(source, disk=replace(source.disk, file=disk)), tmp_path, "Test-1", XzConfig(level=0)
        )
    subprocess.run(["xz", "-0", "-k", disk], check=True)
    with pytest.raises(BuildError, match="no firmware finds it"):
        raw_4k.unpack(tmp_path / "512.raw.xz", tmp_path)


def test_other_disks_are_refused(source: Source, tmp_path: Path) -> None:
    assert raw_4k.layout_problems(source.disk.file) == ["it has no GPT, without which no firmware boots it"]
    (tmp_path / "empty").write_bytes(b"")
    assert "no GPT" in raw_4k.layout_problems(tmp_path / "empty")[0]
    disk = disk_of(tmp_path / "odd.raw", 4096)
    with disk.open("ab") as stream:
        stream.write(bytes(512))
    assert "not whole blocks" in raw_4k.layout_problems(disk)[0]


def test_half_a_download_is_refused(source_4k: Source, tmp_path: Path) -> None:
    file = raw_4k.write(source_4k, tmp_path, "Test-1", XzConfig(level=0))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BuildError, match="is damaged"):
        raw_4k.unpack(file, tmp_path)


def test_any_raw_disk_is_on_the_drive_that_it_is_for(tmp_path: Path) -> None:
    for block, controller in ((4096, Controller.NVME_4K), (512, Controller.VIRTIO)):
        file = disk_of(tmp_path / f"{block}.raw", block)
        with any_image.opened(file, tmp_path, Firmware.UEFI, TCG) as (unpacked, _):
            assert unpacked.controller is controller
    with (
        pytest.raises(UsageError, match="from which no BIOS boots"),
        any_image.opened(tmp_path / "4096.raw", tmp_path, Firmware.BIOS, TCG),
    ):
        pass


GIVEN = {"kickstart": "k", "name": "n", "disk_size": 6144, "firmware": ["uefi"]}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"formats": {"raw-4k": {}}}, "raw-4k is made of a disk with sector_size 4096, and this one has 512"),
        ({"sector_size": 4096, "formats": {"qcow2": {}}}, "qcow2 is made of a disk with sector_size 512"),
        (
            {"sector_size": 4096, "firmware": ["bios", "uefi"], "formats": {"raw-4k": {}}},
            "BIOS boots from no",
        ),
        ({"sector_size": 2048, "formats": {"raw-4k": {}}}, "sector_size"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(more: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ImageConfig.model_validate(GIVEN | more)


def test_a_configuration_of_4k() -> None:
    image = ImageConfig.model_validate(GIVEN | {"sector_size": 4096, "formats": {"raw-4k": {"level": 1}}})
    assert image.formats["raw-4k"] == XzConfig(level=1)
