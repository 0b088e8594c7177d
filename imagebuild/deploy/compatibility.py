"""Whether what will boot a disk can read it: the superblocks that were made, against the tree's own GRUB and
kernel.

Feature bits and offsets: e2fsprogs' lib/ext2fs/ext2_fs.h and ext4(5), Linux' fs/xfs/libxfs/xfs_format.h and
mkfs.xfs(8). What GRUB reads: grub-core/fs/ext2.c and xfs.c of the releases 2.02, 2.04, 2.06, 2.12. Both look
at incompatible features only.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy import luks, lvm
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan

Version = tuple[int, ...]
NEVER: Version = (99,)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """An incompatible feature: which releases of GRUB and of the kernel read a file system that has it."""

    name: str
    grub: Version
    kernel: Version


# incompatible features of ext4 (ext4(5), KERNEL SUPPORT; ext2.c, EXT2_DRIVER_SUPPORTED_INCOMPAT and
# _IGNORED_)
EXT4: Mapping[int, Feature] = {
    0x1: Feature(name="compression", grub=NEVER, kernel=NEVER),
    0x2: Feature(name="filetype", grub=(0,), kernel=(2, 2)),
    0x4: Feature(name="needs_recovery", grub=(0,), kernel=(2, 6)),
    0x8: Feature(name="journal_dev", grub=NEVER, kernel=(2, 6)),
    0x10: Feature(name="meta_bg", grub=(0,), kernel=(2, 6, 28)),
    0x40: Feature(name="extent", grub=(0,), kernel=(2, 6, 28)),
    0x80: Feature(name="64bit", grub=(0,), kernel=(2, 6, 28)),
    0x100: Feature(name="mmp", grub=(0,), kernel=(3, 0)),
    0x200: Feature(name="flex_bg", grub=(0,), kernel=(2, 6, 28)),
    0x400: Feature(name="ea_inode", grub=NEVER, kernel=(4, 13)),
    0x2000: Feature(name="metadata_csum_seed", grub=(2, 12), kernel=(4, 4)),
    0x4000: Feature(name="large_dir", grub=(2, 12), kernel=(4, 13)),
    0x8000: Feature(name="inline_data", grub=NEVER, kernel=(3, 8)),
    0x10000: Feature(name="encrypt", grub=(2, 4), kernel=(4, 1)),
    0x20000: Feature(name="casefold", grub=NEVER, kernel=(5, 2)),
}
# read-only compatible ones: GRUB does not look, an older kernel could not write
EXT4_RO: Mapping[int, Feature] = {
    0x400: Feature(name="metadata_csum", grub=(0,), kernel=(3, 18)),
    0x2000: Feature(name="project", grub=(0,), kernel=(4, 5)),
    0x8000: Feature(name="verity", grub=(0,), kernel=(5, 4)),
    0x10000: Feature(name="orphan_present", grub=(0,), kernel=(5, 15)),
}
# of XFS version 5 (xfs.c, XFS_SB_FEAT_INCOMPAT_SUPPORTED)
XFS: Mapping[int, Feature] = {
    0x1: Feature(name="ftype", grub=(0,), kernel=(3, 13)),
    0x2: Feature(name="sparse inodes", grub=(2, 4), kernel=(4, 2)),
    0x4: Feature(name="meta_uuid", grub=(0,), kernel=(4, 3)),
    0x8: Feature(name="bigtime", grub=(2, 6), kernel=(5, 10)),
    0x10: Feature(name="needsrepair", grub=(2, 6), kernel=NEVER),
    0x20: Feature(name="nrext64", grub=(2, 12), kernel=(5, 19)),
    0x40: Feature(name="exchange-range", grub=NEVER, kernel=(6, 10)),
    0x80: Feature(name="parent pointers", grub=NEVER, kernel=(6, 10)),
    0x100: Feature(name="metadata directory", grub=NEVER, kernel=(6, 13)),
}
XFS_RO: Mapping[int, Feature] = {
    0x1: Feature(name="finobt", grub=(0,), kernel=(3, 16)),
    0x2: Feature(name="rmapbt", grub=(0,), kernel=(4, 8)),
    0x4: Feature(name="reflink", grub=(0,), kernel=(4, 9)),
    0x8: Feature(name="inobtcount", grub=(0,), kernel=(5, 10)),
}
OPTIONS = {"ext4": "mke2fs -O ^NAME", "xfs": "mkfs.xfs -m NAME=0 or -i NAME=0"}


def check(file: Path, plan: Plan, *, grub: str, kernel: str) -> None:
    """Read every file system's superblock from the disk. Raises BuildError: GRUB could not read /boot, or the
    kernel not mount it.
    """
    grub_version, kernel_version = version_of(grub), version_of(kernel)
    if not grub_version or not kernel_version:
        raise BuildError(
            f"what the tree boots with has no version that can be read: GRUB says {grub!r}, the kernel is"
            f" {kernel!r}"
        )
    for mount, name, fstype in plan.file_systems():
        if fstype not in OPTIONS or luks.hides(plan, name) or (plan.is_volume(name) and plan.thin()):
            # FAT has no features, btrfs is not looked at, inside of a thin pool there are no known places
            continue
        start, _ = lvm.place_of(plan, name)
        problem = unreadable(
            superblock(file, start),
            fstype,
            grub=grub_version if mount == "/boot" else None,
            kernel=kernel_version,
        )
        if problem:
            raise BuildError(
                f"{mount} ({fstype}) {problem}",
                hint=(
                    f"turn that off in the tree's mkfs configuration ({OPTIONS[fstype]}), or update the tree"
                ),
            )


def version_of(text: str) -> Version:
    """Return the numbers of the first version in a text: `grub-mkimage (GRUB) 2.06-13+deb12u1` is (2, 6);
    empty when there is none.
    """
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(number) for number in match.groups() if number is not None) if match else ()


def superblock(file: Path, start: int) -> bytes:
    """Return the first 4 KiB of a file system."""
    with file.open("rb") as disk:
        disk.seek(start)
        return disk.read(4096)


def unreadable(block: bytes, fstype: str, *, grub: Version | None, kernel: Version) -> str | None:
    """Return why GRUB (None: it need not) or the kernel cannot read a file system, a sentence's rest; None
    when both can.
    """
    incompatible, read_only = _features(block, fstype)
    if incompatible is None:
        return f"has no {fstype} superblock: it was not made, or made elsewhere"
    known, known_read_only = (EXT4, EXT4_RO) if fstype == "ext4" else (XFS, XFS_RO)
    for bit in _bits(incompatible):
        feature = known.get(bit, Feature(name=f"incompatible feature {bit:#x}", grub=NEVER, kernel=(0,)))
        if grub is not None and feature.grub > grub:
            since = (
                "no release of GRUB"
                if feature.grub == NEVER
                else f"GRUB {feature.grub[0]}.{feature.grub[1]:02d} and newer"
            )
            return (
                f"has the feature {feature.name}, which {since} can read, but the tree's GRUB is"
                f" {_shown(grub)}"
            )
    for bit, table in [(bit, known) for bit in _bits(incompatible)] + [
        (bit, known_read_only) for bit in _bits(read_only)
    ]:
        if bit in table and table[bit].kernel > kernel:
            since = (
                "no Linux" if table[bit].kernel == NEVER else f"Linux {_shown(table[bit].kernel)} and newer"
            )
            return (
                f"has the feature {table[bit].name}, which {since} mounts, but the tree's is {_shown(kernel)}"
            )
    return None


def _features(block: bytes, fstype: str) -> tuple[int | None, int]:
    if fstype == "ext4":
        if struct.unpack_from("<H", block, 1024 + 0x38)[0] != 0xEF53:
            return None, 0
        incompatible, read_only = struct.unpack_from("<II", block, 1024 + 0x60)
        return incompatible, read_only
    if block[:4] != b"XFSB":
        return None, 0
    if struct.unpack_from(">H", block, 0x64)[0] & 0xF < 5:
        return 0, 0
    read_only, incompatible = struct.unpack_from(">II", block, 0xD4)
    return incompatible, read_only


def has_feature(block: bytes, read_only: int) -> bool:
    """Whether an ext4 file system has a read-only compatible feature (a bit of EXT4_RO)."""
    return bool(_features(block, "ext4")[1] & read_only)


def _bits(number: int) -> list[int]:
    return [1 << index for index in range(32) if number >> index & 1]


def _shown(version: Version) -> str:
    return ".".join(str(number) for number in version) or "unknown"
