"""What lies where on a disk, read from the disk itself: partition table, LVM metadata, file systems'
superblocks.
"""

import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.lvm import FORMAT_MAGIC, MDA_START
from imagebuild.kickstart.layout import SECTOR
from imagebuild.tools import command

LARGEST_METADATA = 1 << 20
# what the names of areas inside of partitions begin with
PARTITION = "partition "
# a block of disks with large ones; an entry of a GPT: type, id, first and last block, attributes, name
LARGE, GPT_ENTRY, GPT_ENTRIES = 4096, struct.Struct("<16s16sQQQ72s"), 1024
# MBR types of partitions in which others lie (Linux' block/partitions/msdos.c)
EXTENDED = ("5", "f", "85")
# a linear volume in the metadata text, whether LVM wrote it or we did (vgcfgbackup(8))
VOLUME = re.compile(
    r'(\S+) \{\s+id = "[^{}]*segment_count = 1\s+segment1 \{\s+start_extent = 0\s+extent_count ='
    r' (\d{1,15})[^{}]*type = "striped"[^{}]*stripe_count = 1\b'
    r'[^{}]*stripes = \[\s*"pv0", (\d{1,15})\s*\]'
)


@dataclass(frozen=True, kw_only=True)
class Area:
    """A piece of a disk in bytes. `content`: ext4, xfs, fat, lvm (the header, before the first extent), or
    empty for anything else.
    """

    name: str
    start: int
    size: int
    content: str


def read_map(disk: Path) -> list[Area]:
    """Return the areas of a raw disk, in order, without gaps or overlaps. Raises BuildError when it has no
    partition table.
    """
    found: list[Area] = []
    partitions = _gpt_of_large_blocks(disk) or _partitions(disk)
    for number, (label, start, size) in enumerate(sorted(partitions, key=lambda each: each[1]), start=1):
        name = f"{PARTITION}{number}" + (f" ({label})" if label else "")
        found += _partition(disk, name, start, size)
    return _with_gaps(found, disk.stat().st_size)


def gaps(disk: Path) -> list[Area]:
    """Return the areas that lie before, between and behind the partitions. Raises as `read_map`."""
    return [area for area in read_map(disk) if not area.name.startswith(PARTITION)]


def _partitions(disk: Path) -> list[tuple[str, int, int]]:
    """Return (name, start, size in bytes) of what a partition table in blocks of 512 bytes has."""
    table = json.loads(command.run(["sfdisk", "--json", disk], quiet=True))["partitiontable"]
    return [
        (entry.get("name", ""), int(entry["start"]) * SECTOR, int(entry["size"]) * SECTOR)
        for entry in table.get("partitions", [])
        if entry.get("type") not in EXTENDED
    ]


def _gpt_of_large_blocks(disk: Path) -> list[tuple[str, int, int]]:
    """Return the same of a GPT in blocks of 4096 bytes, which sfdisk 2.38 cannot be told of in a file; empty
    when there is none (UEFI 2.10, 5.3.2 and 5.3.3).
    """
    header = _read(disk, LARGE, LARGE)
    if not header.startswith(b"EFI PART"):
        return []
    begin, count, length = struct.unpack_from("<QII", header, 72)
    if not GPT_ENTRY.size <= length <= LARGE or count > GPT_ENTRIES:
        return []
    table, found = _read(disk, begin * LARGE, count * length), list[tuple[str, int, int]]()
    for offset in range(0, len(table) - GPT_ENTRY.size + 1, length):
        kind, _, first, last, _, name = GPT_ENTRY.unpack_from(table, offset)
        if any(kind) and last >= first:
            label = name.decode("utf-16-le", "replace").partition("\0")[0]
            found.append((label, first * LARGE, (last - first + 1) * LARGE))
    return found


def _with_gaps(areas: list[Area], end: int) -> list[Area]:
    found, position = list[Area](), 0
    for area in areas:
        if area.start > position:
            name = "the partition table and boot code" if position == 0 else f"the gap before {area.name}"
            found.append(Area(name=name, start=position, size=area.start - position, content=""))
        found.append(area)
        position = area.start + area.size
    if position < end:
        found.append(
            Area(
                name="the end of the disk (backup partition table)",
                start=position,
                size=end - position,
                content="",
            )
        )
    return found


def _partition(disk: Path, name: str, start: int, size: int) -> list[Area]:
    volumes = _volumes(disk, start)
    if volumes is None:
        return [Area(name=name, start=start, size=size, content=content_at(disk, start))]
    found = []
    first = min((offset for _, offset, _ in volumes), default=size)
    found.append(Area(name=f"{name}, LVM header", start=start, size=first, content="lvm"))
    for volume, offset, length in sorted(volumes, key=lambda each: each[1]):
        place = start + offset
        found.append(
            Area(name=f"{name}, volume {volume}", start=place, size=length, content=content_at(disk, place))
        )
    used = max((offset + length for _, offset, length in volumes), default=first)
    if used < size:
        found.append(Area(name=f"{name}, free extents", start=start + used, size=size - used, content=""))
    return found


def content_at(disk: Path, start: int) -> str:
    """Return which file system begins there; empty when none is known."""
    head = _read(disk, start, 4096)
    if head[:4] == b"XFSB":
        return "xfs"
    if len(head) > 1082 and struct.unpack_from("<H", head, 1024 + 0x38)[0] == 0xEF53:
        return "ext4"
    return (
        "fat" if head[510:512] == b"\x55\xaa" and (head[54:57] == b"FAT" or head[82:87] == b"FAT32") else ""
    )


def _read(disk: Path, start: int, size: int) -> bytes:
    """Return a piece of a disk; what lies beyond its end is empty, wherever a header says that it lies."""
    with disk.open("rb") as stream:
        stream.seek(min(start, stream.seek(0, os.SEEK_END)))
        return stream.read(size)


def _volumes(disk: Path, start: int) -> list[tuple[str, int, int]] | None:
    """Return (name, offset in the partition, size) of linear volumes; None when there is no LVM."""
    if _read(disk, start + SECTOR, 8) != b"LABELONE":
        return None
    header = _read(disk, start + MDA_START, SECTOR)
    if header[4:20] != FORMAT_MAGIC:
        return None
    offset, size = struct.unpack_from("<QQ", header, 40)
    text = _read(disk, start + MDA_START + offset, min(size, LARGEST_METADATA)).decode("utf-8", "replace")
    extent = _number(text, "extent_size") * SECTOR
    base = _number(text, "pe_start") * SECTOR
    return [
        (match.group(1), base + int(match.group(3)) * extent, int(match.group(2)) * extent)
        for match in VOLUME.finditer(text.partition("logical_volumes {")[2])
    ]


def _number(text: str, key: str) -> int:
    match = re.search(rf"^\s*{key} = (\d{{1,15}})\b", text, re.MULTILINE)
    return int(match.group(1)) if match else 0
