"""A file system that GRUB or the kernel cannot read is refused in a sentence: real superblocks, made by the
real programs.
"""

import struct
import subprocess
from pathlib import Path

import pytest

from imagebuild.deploy import compatibility, lvm
from imagebuild.deploy.compatibility import EXT4, XFS, superblock, unreadable, version_of
from imagebuild.errors import BuildError
from tests.deploy.disks import made
from tests.kickstart.samples import SMALL, read

NEW_GRUB, NEW_KERNEL = (2, 12), (6, 12)


def formatted(tmp_path: Path, *argv: str) -> bytes:
    file = tmp_path / "fs.img"
    with file.open("wb") as disk:
        disk.truncate(320 << 20)
    subprocess.run([*argv, file], check=True, capture_output=True)
    return superblock(file, 0)


@pytest.mark.parametrize(
    ("argv", "grub", "kernel", "said"),
    [
        (["mkfs.ext4", "-q", "-F"], (2, 2), (4, 4), ""),
        (
            ["mkfs.ext4", "-q", "-F", "-O", "metadata_csum_seed"],
            (2, 6),
            (6, 1),
            "metadata_csum_seed, which GRUB 2.12 and newer can read, but the tree's GRUB is 2.6",
        ),
        (["mkfs.ext4", "-q", "-F", "-O", "metadata_csum_seed"], (2, 12), (6, 1), ""),
        (
            ["mkfs.ext4", "-q", "-F", "-O", "inline_data"],
            (2, 12),
            (6, 1),
            "inline_data, which no release of GRUB can read",
        ),
        (["mkfs.ext4", "-q", "-F", "-O", "inline_data"], None, (6, 1), ""),
        (
            ["mkfs.ext4", "-q", "-F", "-O", "casefold"],
            None,
            (4, 18),
            "casefold, which Linux 5.2 and newer mounts, but the tree's is 4.18",
        ),
        (["mkfs.xfs", "-q", "-f"], (2, 6), (6, 1), ""),
        (["mkfs.xfs", "-q", "-f"], (2, 4), (6, 1), "bigtime, which GRUB 2.06 and newer can read"),
        (["mkfs.xfs", "-q", "-f", "-m", "bigtime=0,inobtcount=0"], (2, 4), (5, 4), ""),
        (
            ["mkfs.xfs", "-q", "-f", "-m", "bigtime=0,inobtcount=0"],
            (2, 2),
            (5, 4),
            "sparse inodes, which GRUB 2.04",
        ),
        (["mkfs.xfs", "-q", "-f", "-m", "bigtime=0"], None, (5, 4), "inobtcount, which Linux 5.10"),
        (["mkfs.xfs", "-q", "-f", "-i", "nrext64=1"], (2, 6), (6, 1), "nrext64, which GRUB 2.12"),
        (["mkfs.xfs", "-q", "-f", "-m", "crc=0"], (2, 2), (4, 0), ""),
    ],
)
def test_what_the_tree_cannot_read_is_named(
    tmp_path: Path, argv: list[str], grub: tuple[int, int] | None, kernel: tuple[int, int], said: str
) -> None:
    kind = "ext4" if "ext4" in argv[0] else "xfs"
    found = unreadable(formatted(tmp_path, *argv), kind, grub=grub, kernel=kernel)
    assert (found is not None and said in found) if said else found is None, found


def test_a_feature_nobody_knows_is_not_for_grub() -> None:
    block = bytearray(4096)
    struct.pack_into("<H", block, 1024 + 0x38, 0xEF53)
    struct.pack_into("<I", block, 1024 + 0x60, 1 << 30)
    assert "incompatible feature 0x40000000, which no release of GRUB" in str(
        unreadable(bytes(block), "ext4", grub=NEW_GRUB, kernel=NEW_KERNEL)
    )
    assert "has no xfs superblock" in str(unreadable(bytes(block), "xfs", grub=None, kernel=NEW_KERNEL))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("grub-mkimage (GRUB) 2.06-13+deb12u1", (2, 6)),
        ("6.1.0-56-amd64", (6, 1, 0)),
        ("grub2-mkimage (GRUB) 2.02~beta3", (2, 2)),
        ("?", ()),
    ],
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_masks_are_those_of_grubs_releases() -> None:
    # grub-core/fs/ext2.c and xfs.c: what each release supports or ignores
    masks = {
        version: (
            sum(bit for bit, feature in EXT4.items() if feature.grub <= version),
            sum(bit for bit, feature in XFS.items() if feature.grub <= version),
        )
        for version in ((2, 2), (2, 4), (2, 6), (2, 12))
    }
    assert masks == {
        (2, 2): (0x3D6, 0x5),
        (2, 4): (0x103D6, 0x7),
        (2, 6): (0x103D6, 0x1F),
        (2, 12): (0x163D6, 0x3F),
    }


def test_the_disk_is_refused_before_any_boot(tmp_path: Path) -> None:
    plan = read(SMALL)
    file = made(tmp_path, plan)
    boot = plan.partitions[0]
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-O", "metadata_csum_seed", "-E", f"offset={boot.start}", file, "300M"],
        check=True,
        capture_output=True,
    )
    start, size = lvm.place(plan, "root")
    with pytest.raises(BuildError, match=r"/ \(xfs\) has no xfs superblock"):
        compatibility.check(file, plan, grub="2.12", kernel="6.1")
    with (tmp_path / "root.img").open("wb") as root:
        root.truncate(size)
    subprocess.run(["mkfs.xfs", "-q", tmp_path / "root.img"], check=True)
    with file.open("r+b") as disk:
        disk.seek(start)
        disk.write((tmp_path / "root.img").read_bytes()[:4096])
    compatibility.check(file, plan, grub="2.12", kernel="6.1")
    with pytest.raises(BuildError, match=r"/boot \(ext4\) has the feature metadata_csum_seed") as caught:
        compatibility.check(file, plan, grub="2.06", kernel="6.1")
    assert "mke2fs -O ^NAME" in caught.value.hint
    with pytest.raises(BuildError, match=r"/ \(xfs\) has the feature bigtime, which Linux 5\.10"):
        compatibility.check(file, plan, grub="2.12", kernel="5.4")
