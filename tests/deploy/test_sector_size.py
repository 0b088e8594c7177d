"""Disks whose logical block is 4096 bytes: what is written for them, read again by the real programs."""

import struct
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import bootloader, filesystems, lvm
from imagebuild.deploy import partition_table as table
from imagebuild.deploy.bootloader import Loader
from imagebuild.deploy.disk_map import read_map
from imagebuild.kickstart import plan as planning
from imagebuild.kickstart.plan import Plan
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from tests.kickstart.samples import GIB, MIB, SMALL

UEFI = frozenset({Firmware.UEFI})
BLOCK = 4096
WITH_REQPART = SMALL.replace("part /boot --size=300 --fstype=ext4", "reqpart --add-boot")


def read(text: str = WITH_REQPART, *, sector_size: int = BLOCK, firmware: frozenset[Firmware] = UEFI) -> Plan:
    return planning.read(
        text, "F28", disk_size=6 * GIB, firmware=firmware, seed="commit", name="test.ks",
        sector_size=sector_size,
    )  # fmt: skip


def written(tmp_path: Path, plan: Plan) -> Path:
    file = tmp_path / "disk of 4k.raw"
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    table.write_table(file, plan)
    return file


def test_the_table_counts_in_blocks_of_the_disk(tmp_path: Path) -> None:
    """UEFI 2.10, 5.3.2, table 5.5: the header is the block with number 1; partitions are in blocks too."""
    plan = read()
    data = written(tmp_path, plan).open("rb")
    with data:
        assert data.read(BLOCK)[510:512] == b"\x55\xaa"
        header = data.read(BLOCK)
        assert header[:8] == b"EFI PART"
        first, last = struct.unpack_from("<QQ", header, 40)
        assert (first, last) == (6, plan.disk_size // BLOCK - 6)
        entries = [data.read(128) for _ in plan.partitions]
    places = [struct.unpack_from("<QQ", entry, 32) for entry in entries]
    assert [(start * BLOCK, (end - start + 1) * BLOCK) for start, end in places] == [
        (each.start, each.size) for each in plan.partitions
    ]
    names = [entry[56:].decode("utf-16-le").rstrip("\0") for entry in entries]
    assert names == [each.name for each in plan.partitions] == ["efi", "boot", "pv.01"]


def test_a_512_byte_layout_has_no_table_on_a_4k_disk(tmp_path: Path) -> None:
    """util-linux' own reader, told the disk's blocks: what a firmware or kernel would make of it."""
    listing = ["fdisk", "--sector-size", str(BLOCK), "--list"]
    right = subprocess.run([*listing, written(tmp_path, read())], capture_output=True, text=True, check=True)
    assert right.stdout.count("Linux filesystem") == 1
    assert right.stdout.count("EFI System") == 1
    wrong = subprocess.run(
        [*listing, written(tmp_path, read(sector_size=512))], capture_output=True, text=True, check=True
    )
    assert "Linux filesystem" not in wrong.stdout


def test_the_table_is_the_same_each_time(tmp_path: Path) -> None:
    heads = []
    for _ in range(2):
        with written(tmp_path, read()).open("rb") as disk:
            heads.append(disk.read(MIB))
    assert heads[0] == heads[1]


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_file_systems_can_be_mounted_from_such_a_disk(tmp_path: Path, fstype: str) -> None:
    """Linux refuses an XFS sector or an ext4 block that is smaller than the device's logical block (fs/xfs
    xfs_setsize_buftarg, fs/ext4 sb_min_blocksize).
    """
    sizes = []
    for sector_size in (512, BLOCK):
        image = tmp_path / f"{sector_size}.img"
        with image.open("wb") as file:
            file.truncate(320 * MIB)
        made = filesystems.mkfs(read(sector_size=sector_size), "boot", fstype, str(image))
        subprocess.run([str(word) for word in made], check=True, capture_output=True)
        block = image.open("rb")
        with block:
            data = block.read(4096)
        sizes.append(
            struct.unpack_from(">H", data, 102)[0]  # xfs_format.h, sb_sectsize
            if fstype == "xfs"
            else 1024 << struct.unpack_from("<I", data, 1024 + 0x18)[0]  # ext4(5), s_log_block_size
        )
    assert sizes[1] == BLOCK
    assert sizes[0] < BLOCK, "what is made for 512 bytes could not be mounted: the options are needed"


@pytest.mark.parametrize(("size", "kind"), [(200, b"FAT16"), (300, b"FAT32")])
def test_the_esp_is_the_fat_that_its_clusters_say(tmp_path: Path, size: int, kind: bytes) -> None:
    plan = read(SMALL.replace("part pv.01", f"part /boot/efi --size={size} --fstype=efi\npart pv.01").replace(
        "clearpart --all", "clearpart --all --disklabel=gpt"
    ))  # fmt: skip
    file = written(tmp_path, plan)
    bootloader.write_loader(
        file,
        plan,
        Loader(directory="grub", version="2.06", esp={PurePosixPath("EFI/BOOT/BOOTX64.EFI"): b"MZ program"}),
    )
    esp = plan.partition("efi")
    assert esp is not None
    with file.open("rb") as disk:
        disk.seek(esp.start)
        head = disk.read(512)
    assert struct.unpack_from("<H", head, 11)[0] == BLOCK
    assert kind in head
    listed = subprocess.run(
        ["mdir", "-i", f"{file.name}@@{esp.start}", "-b", "::/EFI/BOOT"],
        check=True, capture_output=True, text=True, cwd=tmp_path,
        env={"MTOOLS_SKIP_CHECK": "1", "PATH": "/usr/bin"},
    )  # fmt: skip
    assert listed.stdout.strip() == "::/EFI/BOOT/BOOTX64.EFI"


def test_lvm_counts_in_512_on_every_disk(tmp_path: Path) -> None:
    plan = read()
    file = written(tmp_path, plan)
    lvm.write_group(file, plan)
    assert lvm.metadata(plan) == lvm.metadata(replace(plan, sector_size=512))


@pytest.mark.parametrize(
    ("text", "firmware", "sector_size", "complaint"),
    [
        (WITH_REQPART, frozenset({Firmware.BIOS}), BLOCK, "cannot be booted under BIOS"),
        (SMALL.replace("--fstype=ext4", "--fstype=ext4\npart /boot/efi --size=300 --fstype=efi"), UEFI, BLOCK,
         "needs a GPT"),
        (WITH_REQPART, UEFI, 520, "sectors of 520 bytes: there are layouts for 512 and 4096"),
    ],
)  # fmt: skip
def test_what_cannot_boot_from_a_4k_disk_is_refused_before_it_is_made(
    text: str, firmware: frozenset[Firmware], sector_size: int, complaint: str
) -> None:
    with pytest.raises(BadKickstartError, match=complaint):
        read(text, firmware=firmware, sector_size=sector_size)


def test_such_a_disk_is_looked_into(tmp_path: Path) -> None:
    plan = read()
    areas = {area.name: area for area in read_map(written(tmp_path, plan))}
    for number, part in enumerate(plan.partitions, start=1):
        area = next(
            area for name, area in areas.items() if name.startswith(f"partition {number} ({part.name})")
        )
        assert area.start == part.start
    assert sum(area.size for area in areas.values()) == plan.disk_size
