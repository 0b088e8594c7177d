"""GRUB's block lists, byte by byte, on a file made by a real sfdisk."""

import os
import struct
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import bootloader
from imagebuild.deploy import partition_table as table
from imagebuild.deploy.bootloader import Loader
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.tools import command, loop
from tests.kickstart.samples import BIOS, BOTH, SMALL, read, rendered

BOOT = bytes(range(256)) * 2
CORE = b"\xee" * 30_000
BOOTX64 = PurePosixPath("EFI/BOOT/BOOTX64.EFI")


def made(tmp_path: Path, plan: Plan, loader: Loader) -> bytes:
    file = tmp_path / "disk.raw"
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    table.write_table(file, plan)
    with file.open("rb") as stream:
        before = stream.read(512)
    bootloader.write_loader(file, plan, loader)
    with file.open("rb") as stream:
        after = stream.read(80 << 20)
    assert after[0x1B8:0x200] == before[0x1B8:0x200], "the partition table was overwritten"
    return after


@pytest.mark.parametrize(("kind", "sector"), [("gpt", 2048), ("mbr", 1)])
def test_boot_sector_and_core_image_point_at_each_other(tmp_path: Path, kind: str, sector: int) -> None:
    text, syntax = rendered("debian-12") if kind == "gpt" else (SMALL, "F28")
    plan = read(text, syntax=syntax, firmware=BIOS)
    disk = made(tmp_path, plan, Loader(directory="grub", version="2.06", boot=BOOT, core=CORE))
    assert struct.unpack_from("<Q", disk, 0x5C)[0] == sector
    assert disk[0x66:0x68] == b"\x90\x90"
    core = disk[sector * 512 : sector * 512 + len(CORE)]
    start, count, segment = struct.unpack_from("<QHH", core, 0x1F4)
    assert (start, count, segment) == (sector + 1, -(-len(CORE) // 512) - 1, 0x820)
    assert core[0x200:] == CORE[0x200:]


def test_a_core_image_that_is_too_large_is_refused(tmp_path: Path) -> None:
    plan = read(SMALL)
    with pytest.raises(BuildError, match="there is room for"):
        made(tmp_path, plan, Loader(directory="grub", version="2.06", boot=BOOT, core=b"x" * (2 << 20)))


def test_the_esp_holds_the_removable_loader_and_is_the_same_each_time(tmp_path: Path) -> None:
    text, syntax = rendered("debian-12")
    plan = read(text, syntax=syntax, firmware=BOTH)
    esp = plan.partition("efi")
    assert esp is not None
    parts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        disk = made(
            tmp_path / name,
            plan,
            Loader(directory="grub", version="2.06", boot=BOOT, core=CORE, esp={BOOTX64: b"MZ efi program"}),
        )
        parts.append(disk[esp.start : esp.start + esp.size])
    assert parts[0] == parts[1]
    (tmp_path / "esp.img").write_bytes(parts[0])
    assert command.run(["mtype", "-i", tmp_path / "esp.img", "::/EFI/BOOT/BOOTX64.EFI"]) == "MZ efi program"
    assert Firmware.UEFI in plan.firmware


@pytest.mark.skipif(os.geteuid() != 0, reason="a block device needs root")
def test_nothing_of_an_older_system_is_left_in_the_esp(tmp_path: Path) -> None:
    """On a disk, unlike in a new image, there may be anything: zeros are written too."""
    text, syntax = rendered("debian-12")
    plan = read(text, syntax=syntax, firmware=BOTH)
    esp = plan.partition("efi")
    assert esp is not None
    loader = Loader(
        directory="grub",
        version="2.06",
        boot=BOOT,
        core=CORE,
        esp={BOOTX64: b"MZ efi program" + b"\0" * 200_000 + b"end"},
    )
    clean = made(tmp_path, plan, loader)[esp.start : esp.start + esp.size]
    used = tmp_path / "used.raw"
    used.write_bytes(b"\xff" * (esp.start + esp.size))
    with loop.attached(used) as device:
        bootloader.write_loader(device, plan, loader)
    assert used.read_bytes()[esp.start : esp.start + esp.size] == clean
