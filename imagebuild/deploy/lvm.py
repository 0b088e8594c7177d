"""LVM2's on-disk format, written into a plain file: a physical volume, its group, linear volumes. No device,
no root, no random ids.

The formats are those of LVM2's lib/format_text/layout.h (label, pv_header, mda_header) and of vgcfgbackup(8)
(metadata text). Only what LVM itself makes by default is written: one metadata area of 1 MiB, data from 1 MiB
on, extents of 4 MiB.
"""

import hashlib
import itertools
import struct
import zlib
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kickstart.layout import EXTENT, PE_START, SECTOR, Partition, Volume
from imagebuild.kickstart.plan import Plan

MDA_START = 4096
MDA_SIZE = PE_START - MDA_START
# lib/misc/crc.h: CRC-32 that starts elsewhere and is not inverted at its end
INITIAL_CRC = 0xF597A6CF
FORMAT_MAGIC = b"\x20LVM2\x20x[5A%r0N*>"
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def extents(plan: Plan) -> dict[str, tuple[int, int]]:
    """Return name -> (first extent, number of extents): the volumes lie one after the other."""
    found, first = dict[str, tuple[int, int]](), 0
    for volume in plan.volumes:
        found[volume.name] = (first, volume.size // EXTENT)
        first += volume.size // EXTENT
    return found


def place(plan: Plan, name: str) -> tuple[int, int]:
    """Return (offset in the disk, size) of a volume, in bytes."""
    first, count = extents(plan)[name]
    return physical_volume(plan).start + PE_START + first * EXTENT, count * EXTENT


def place_of(plan: Plan, name: str) -> tuple[int, int]:
    """Return (offset in the disk, size) of a partition or volume."""
    if plan.is_volume(name):
        return place(plan, name)
    partition = next(each for each in plan.partitions if each.name == name)
    return partition.start, partition.size


def physical_volume(plan: Plan) -> Partition:
    """Return the partition of the plan that holds the volume group."""
    found = plan.partition("lvm")
    if found is None:
        raise BuildError("the plan has no physical volume")
    return found


def write_group(file: Path, plan: Plan) -> None:
    """Write the physical volume's label and the group's metadata. Volumes are linear and in one piece; their
    content is not touched.
    """
    physical = physical_volume(plan)
    text = metadata(plan).encode() + b"\0"
    if len(text) > MDA_SIZE - SECTOR:
        raise BuildError("the volume group's metadata does not fit its area")
    with file.open("r+b") as disk:
        disk.seek(physical.start)
        disk.write(b"\0" * SECTOR + _label(plan, physical))
        disk.seek(physical.start + MDA_START)
        disk.write(_area_header(text) + text)


def uuid(plan: Plan, role: str) -> str:
    """Return an LVM UUID (32 letters and digits in groups of 6-4-4-4-4-4-6) that follows from the plan's
    seed.
    """
    number = int.from_bytes(hashlib.sha512(f"imagebuild:{plan.seed}:lvm {role}".encode()).digest(), "big")
    letters = ""
    for _ in range(32):
        number, index = divmod(number, len(ALPHABET))
        letters += ALPHABET[index]
    cuts = (0, 6, 10, 14, 18, 22, 26, 32)
    return "-".join(letters[start:end] for start, end in itertools.pairwise(cuts))


def _crc(data: bytes) -> int:
    return zlib.crc32(data, INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def _label(plan: Plan, physical: Partition) -> bytes:
    header = uuid(plan, "pv").replace("-", "").encode()
    header += struct.pack("<Q", physical.size)
    header += struct.pack("<QQQQ", PE_START, 0, 0, 0)  # data areas: to the end; then the end of the list
    header += struct.pack("<QQQQ", MDA_START, MDA_SIZE, 0, 0)
    header += struct.pack("<IIQQ", 2, 1, 0, 0)  # extension 2, in use, no boot loader area
    rest = struct.pack("<I8s", 32, b"LVM2 001") + header
    rest += b"\0" * (SECTOR - 20 - len(rest))
    return struct.pack("<8sQI", b"LABELONE", 1, _crc(rest)) + rest


def _area_header(text: bytes) -> bytes:
    rest = struct.pack("<16sIQQ", FORMAT_MAGIC, 1, MDA_START, MDA_SIZE)
    rest += struct.pack("<QQII", SECTOR, len(text), _crc(text), 0) + struct.pack("<QQII", 0, 0, 0, 0)
    rest += b"\0" * (SECTOR - 4 - len(rest))
    return struct.pack("<I", _crc(rest)) + rest


def metadata(plan: Plan) -> str:
    """Return the group's metadata as LVM writes it (vgcfgbackup(8)); the only time in it is the plan's."""
    physical = physical_volume(plan)
    lines = [
        f"{plan.group} {{",
        f'id = "{uuid(plan, "vg")}"',
        "seqno = 1",
        'format = "lvm2"',
        'status = ["RESIZEABLE", "READ", "WRITE"]',
        "flags = []",
        f"extent_size = {EXTENT // SECTOR}",
        "max_lv = 0",
        "max_pv = 0",
        "metadata_copies = 0",
        "",
        "physical_volumes {",
        "",
        "pv0 {",
        f'id = "{uuid(plan, "pv")}"',
        f'device = "/dev/vda{physical.number}"',
        "",
        'status = ["ALLOCATABLE"]',
        "flags = []",
        f"dev_size = {physical.size // SECTOR}",
        f"pe_start = {PE_START // SECTOR}",
        f"pe_count = {(physical.size - PE_START) // EXTENT}",
        "}",
        "}",
        "",
        "logical_volumes {",
        "",
    ]
    for volume in plan.volumes:
        lines += _volume(plan, volume)
    lines += [
        "}",
        "",
        "}",
        "# made by imagebuild",
        "",
        'contents = "Text Format Volume Group"',
        "version = 1",
        "",
        'description = ""',
        "",
        'creation_host = "localhost"',
        f"creation_time = {plan.epoch}",
        "",
    ]
    return "\n".join(lines)


def _volume(plan: Plan, volume: Volume) -> list[str]:
    if volume.kind != "linear":
        raise BuildError(f"{volume.name} is a {volume.kind} volume: only device-mapper can make it")
    first, count = extents(plan)[volume.name]
    return [
        f"{volume.name} {{",
        f'id = "{uuid(plan, "lv " + volume.name)}"',
        'status = ["READ", "WRITE", "VISIBLE"]',
        "flags = []",
        f"creation_time = {plan.epoch}",
        'creation_host = "localhost"',
        "segment_count = 1",
        "",
        "segment1 {",
        "start_extent = 0",
        f"extent_count = {count}",
        "",
        'type = "striped"',
        "stripe_count = 1",
        "",
        "stripes = [",
        f'"pv0", {first}',
        "]",
        "}",
        "}",
    ]
