"""Which disk is erased: never a guess, never the medium."""

import dataclasses
from pathlib import Path

import pytest

from imagebuild.deploy import live_system as guard
from imagebuild.errors import BuildError
from imagebuild.kickstart import source as kickstart
from imagebuild.kickstart.statements import statements_of
from imagebuild.live import disks
from imagebuild.live.disks import Candidate, choose
from imagebuild.tools import command
from tests.live.sysfs import sysfs

VDA = Candidate(name="vda", size=8 << 30, model="")
VDB = Candidate(name="vdb", size=16 << 30, model="QEMU disk")


def test_only_disks_that_may_be_erased_are_candidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = sysfs(tmp_path, monkeypatch)
    (found,) = disks.candidates(live)
    assert (found.name, found.size, found.model) == ("vda", 8 << 30, "Virtual Disk")
    assert {name: guard.protected(live, name) for name in ("sda", "vdb", "vdc", "vde")} == {
        "sda": "is the installation medium",
        "vdb": "is read-only",
        "vdc": "is in use: dm-0 is on it",
        "vde": "is not there",
    }


def test_a_disk_with_a_mounted_partition_is_protected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = sysfs(tmp_path, monkeypatch, mounts="30 22 252:2 / /mnt ro - ext4 /dev/vda2 ro\n")
    assert disks.candidates(live) == []
    assert guard.protected(live, "vda") == "is mounted"
    assert guard.disk_of("252:2") == "vda"
    assert guard.disk_of("9:9") == ""


def test_a_copy_of_the_medium_is_protected_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = dataclasses.replace(sysfs(tmp_path, monkeypatch), label="Debian-12")
    monkeypatch.setattr(guard, "_label", lambda name: "Debian-12" if name == "vda" else "")
    assert guard.protected(live, "vda") == "holds a copy of the installation medium Debian-12"


def test_the_label_of_an_image_is_read(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 32768 + b"\x01CD001" + b"\0" * 34 + b"Debian-12".ljust(32) + b"\0" * 100)
    assert guard._label(str(image)) == "Debian-12"
    image.write_bytes(b"\0" * 40000)
    assert guard._label(str(image)) == ""
    assert guard._label(str(tmp_path / "none")) == ""


def test_odd_disks_are_no_candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = sysfs(tmp_path, monkeypatch)
    (tmp_path / "block/vda/queue").mkdir()
    (tmp_path / "block/vda/queue/logical_block_size").write_text("520\n")
    assert guard.protected(live, "vda") == "has sectors of 520 bytes, which this installer does not lay out"
    (tmp_path / "block/vda/queue/logical_block_size").write_text("4096\n")
    assert (guard.protected(live, "vda"), guard.sector_of("vda")) == (None, 4096)
    (tmp_path / "block/vda/queue/logical_block_size").write_text("512\n")
    assert [each.name for each in disks.candidates(live)] == ["vda"]
    (tmp_path / "block/vda/hidden").write_text("1\n")
    assert disks.candidates(live) == []


@pytest.mark.parametrize(
    ("said", "readable", "expected"),
    [
        (
            (0, "TYPE=ext4\nLABEL=data\n"),
            True,
            ["vda: ext4 'data'", "vda1: ext4 'data'", "vda2: ext4 'data'"],
        ),
        (
            (0, "PTTYPE=gpt\n"),
            True,
            ["vda: partition table gpt", *(f"vda{n}: partition table gpt" for n in (1, 2))],
        ),
        ((2, ""), True, ["vda1: a partition", "vda2: a partition"]),
        (
            (8, "blkid: ambivalent result"),
            True,
            [f"{part}: something that cannot be told" for part in ("vda", "vda1", "vda2")],
        ),
        ((2, ""), False, [f"{part}: something that cannot be told" for part in ("vda", "vda1", "vda2")]),
    ],
)
def test_what_cannot_be_told_is_not_empty(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: tuple[int, str],
    readable: bool,
    expected: list[str],
) -> None:
    content = disks.content
    sysfs(tmp_path, monkeypatch)
    monkeypatch.setattr(command, "status", lambda *_: said)
    monkeypatch.setattr(disks, "_can_be_read", lambda _: readable)
    assert content("vda") == expected


def test_one_disk_is_chosen_two_are_not() -> None:
    assert choose([], [VDA]) is VDA
    with pytest.raises(
        BuildError,
        match=r"there are 2 disks and the kickstart does not say which: vda  8\.0 GiB; vdb  16\.0 GiB",
    ):
        choose([], [VDA, VDB])
    with pytest.raises(BuildError, match="there is no disk to install on"):
        choose([], [])


@pytest.mark.parametrize("name", ["vdb", "/dev/vdb", "vd[b-z]"])
def test_the_kickstart_says_which(name: str) -> None:
    assert choose([name], [VDA, VDB]) is VDB


def test_a_name_that_is_no_disk_is_refused() -> None:
    with pytest.raises(BuildError, match="names the disk sda, which is not there or must not be erased"):
        choose(["sda"], [VDA])
    with pytest.raises(BuildError, match="several disks"):
        choose(["vda", "vdb"], [VDA, VDB])


@pytest.mark.parametrize(
    "line",
    [
        "ignoredisk --only-use=vdb",
        "clearpart --all --drives=vdb",
        "part / --ondisk=vdb --size=1",
        "bootloader --boot-drive=vdb",
        "bootloader --driveorder=vdb",
    ],
)
def test_every_way_to_name_a_disk_is_read(line: str) -> None:
    assert statements_of(kickstart.parse(f"{line}\n", "F28", "test")).disks == ("vdb",)
