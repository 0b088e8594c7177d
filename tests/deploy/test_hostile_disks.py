"""Headers of disks and answers of a tree's programs that say what cannot be."""

import struct
from pathlib import Path

import pytest

from imagebuild.deploy import disk_map, first_boot
from imagebuild.deploy.lvm import FORMAT_MAGIC, MDA_START
from imagebuild.kinds import Login

SECTOR = 512


def test_a_table_beyond_every_disk_is_empty(tmp_path: Path) -> None:
    header = b"EFI PART".ljust(72, b"\0") + struct.pack("<QII", (1 << 64) - 1, 4, 128)
    (tmp_path / "disk").write_bytes(bytes(4096) + header.ljust(4096, b"\0"))
    assert disk_map._gpt_of_large_blocks(tmp_path / "disk") == []


def test_metadata_beyond_every_disk_has_no_volumes(tmp_path: Path) -> None:
    header = (bytes(4) + FORMAT_MAGIC).ljust(40, b"\0") + struct.pack("<QQ", (1 << 64) - 1, 512)
    (tmp_path / "disk").write_bytes(
        (bytes(SECTOR) + b"LABELONE").ljust(MDA_START, b"\0") + header.ljust(SECTOR, b"\0")
    )
    assert disk_map._volumes(tmp_path / "disk", 0) == []


@pytest.mark.parametrize(
    ("word", "text"),
    [("kernels", "12 /boot/a\nb\n"), ("kernels", "9" * 5_000 + " /a\n"), ("boot-room", "0 0\n"),
     ("boot-room", "\u0663 4096\n"), ("unit-links", "a.service\n"), ("cloud-config", "a: &a [*a]"),
     ("cloud-config", "a: 2001-99-99")],
)  # fmt: skip
def test_facts_that_cannot_be_are_a_finding(word: str, text: str) -> None:
    facts = {
        "deployments": ["ab.0\n"],
        "machine-id": [""],
        "entries": ["x"],
        "kernels": ["12 /a\n"],
        "boot-room": ["4096 99999\n"],
    }
    found = first_boot.problems(
        facts | {word: [text]}, commit="ab", kind="qcow2", login=next(iter(Login)), clouds=(frozenset({"x"}),)
    )
    if word in ("kernels", "boot-room"):
        assert any("nobody can tell" in each for each in found)
