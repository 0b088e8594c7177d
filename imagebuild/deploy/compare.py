"""Two disk images, byte by byte: where they differ, named by partition, file and inode.

Who wants to know why a build was not reproduced is told what to look at. ext4(5)'s and the FAT's layout are
read here and through debugfs(8), xfs through xfs_db(8), mtools for FAT: all on plain files.
"""

import contextlib
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.disk_map import Area, content_at, read_map
from imagebuild.errors import BuildError, UsageError
from imagebuild.tools import command, temporary
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.export import exported

CHUNK = 1 << 20
BLOCK = 4096
SHOWN = 20
# what a table or a file system that is none, or is damaged, makes its reader stumble over
MALFORMED = (
    struct.error,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    ZeroDivisionError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Blocks of one area that differ: how many, the first one's offset in the disk, and what they belong to,
    as far as it can be told.
    """

    area: str
    blocks: int
    first: int
    owners: tuple[str, ...]


class ComparisonError(BuildError):
    """Two images could not be compared: whether they differ is not known (cmp(1) and diff(1) end with 2 then,
    and 1 when they differ).
    """

    exit_code = 2


def compare(one: Path, other: Path) -> list[Difference]:
    """Return where two images (of any of QEMU's formats) differ; nothing when every byte is the same.

    Raises ComparisonError for whatever keeps them from being read to their end.
    """
    try:
        return _compared(one, other)
    except UsageError:
        raise
    except BuildError as error:
        raise ComparisonError(
            f"{one} and {other} cannot be compared: {error.message}", hint=error.hint, log=error.log
        ) from error
    except Exception as error:
        # also what nobody has thought of must not look like a difference
        raise ComparisonError(f"{one} and {other} cannot be compared: {error!r}") from error


def _compared(one: Path, other: Path) -> list[Difference]:
    with _raw(one) as left, _raw(other) as right:
        sizes = [file.stat().st_size for file in (left, right)]
        if sizes[0] != sizes[1]:
            return [
                Difference(area=f"the size: {sizes[0]} and {sizes[1]} bytes", blocks=0, first=0, owners=())
            ]
        blocks = list(different_blocks(left, right))
        return (
            [found for area in _areas(left) for found in _in_area(left, right, area, blocks)]
            if blocks
            else []
        )


def _areas(disk: Path) -> list[Area]:
    """Return the areas of a disk; all of it is one when it has no partition table that can be read: a file
    system, a piece of one, any file.
    """
    size = disk.stat().st_size
    try:
        areas = read_map(disk)
    except (BuildError, *MALFORMED):
        areas = []
    ends = [0, *(area.start + area.size for area in areas)]
    # a table may name what is not there, or the same twice; a FAT's boot sector looks like a table without
    # partitions
    if len(areas) > 1 and [area.start for area in areas] == ends[:-1] and ends[-1] == size:
        return areas
    return [Area(name="the disk", start=0, size=size, content=content_at(disk, 0))]


@contextlib.contextmanager
def _raw(image: Path) -> Iterator[Path]:
    with exported(image, str(disk_image.info(image)["format"]), writable=False) as raw:
        yield raw


def different_blocks(left: Path, right: Path) -> Iterator[int]:
    """Yield the offset of every block of 4 KiB that differs."""
    with left.open("rb") as one, right.open("rb") as other:
        position = 0
        while chunk := one.read(CHUNK):
            against = other.read(CHUNK)
            if chunk != against:
                for start in range(0, len(chunk), BLOCK):
                    if chunk[start : start + BLOCK] != against[start : start + BLOCK]:
                        yield position + start
            position += len(chunk)


def _in_area(left: Path, right: Path, area: Area, blocks: Sequence[int]) -> list[Difference]:
    mine = [block for block in blocks if area.start <= block < area.start + area.size]
    if not mine:
        return []
    try:
        owners = {"ext4": _ext4, "xfs": _xfs, "fat": _fat}.get(area.content, _unknown)(
            left, right, area, mine
        )
    except (BuildError, *MALFORMED) as error:
        # that they differ is known all the same
        said = error.message if isinstance(error, BuildError) else f"the {area.content} cannot be read"
        owners = (f"whose it is cannot be told: {said.splitlines()[0]}", *_unknown(left, right, area, mine))
    return [
        Difference(
            area=f"{area.name}{f', {area.content}' if area.content else ''}",
            blocks=len(mine),
            first=mine[0],
            owners=owners,
        )
    ]


def _unknown(left: Path, right: Path, area: Area, blocks: Sequence[int]) -> tuple[str, ...]:
    del left, right
    return tuple(f"byte {block - area.start} of {area.name} and on" for block in blocks[:SHOWN])


# --- ext4 ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Ext4:
    block: int
    inode_size: int
    per_group: int
    tables: tuple[int, ...]


def _ext4(left: Path, right: Path, area: Area, blocks: Sequence[int]) -> tuple[str, ...]:
    shape = _shape(left, area)
    table_blocks = -(-shape.per_group * shape.inode_size // shape.block)
    inodes, data, other = set[int](), list[int](), list[int]()
    for offset in blocks:
        number = (offset - area.start) // shape.block
        group = next(
            (index for index, start in enumerate(shape.tables) if start <= number < start + table_blocks),
            None,
        )
        if group is None:
            data.append(number)
        else:
            first = (
                group * shape.per_group
                + (number - shape.tables[group]) * (shape.block // shape.inode_size)
                + 1
            )
            inodes |= {first + slot for slot in _slots(left, right, offset, shape.inode_size)}
    for line in (
        _debugfs(left, area, f"icheck {' '.join(str(number) for number in data[: 10 * SHOWN])}")
        if data
        else []
    ):
        words = line.split("\t")
        if len(words) == 2 and words[1].isdigit():
            inodes.add(int(words[1]))
        elif len(words) == 2 and words[0].isdigit():
            other.append(int(words[0]))
    names = dict(_names(left, area, sorted(inodes)[: 10 * SHOWN]))
    found = [f"inode {inode}: {names.get(inode, '(no name)')}" for inode in sorted(inodes)]
    found += [f"block {number}: superblock, group descriptors, bitmaps or journal" for number in other]
    return tuple(found[:SHOWN] + ([f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []))


def _shape(disk: Path, area: Area) -> _Ext4:
    with disk.open("rb") as stream:
        stream.seek(area.start)
        head = stream.read(1 << 16)
        block = 1024 << struct.unpack_from("<I", head, 1024 + 0x18)[0]
        count, per_block_group = (
            struct.unpack_from("<I", head, 1024 + 0x4)[0],
            struct.unpack_from("<I", head, 1024 + 0x20)[0],
        )
        descriptor = max(32, struct.unpack_from("<H", head, 1024 + 0xFE)[0])
        groups = -(-count // per_block_group)
        stream.seek(area.start + (1 if block > 1024 else 2) * block)
        descriptors = stream.read(groups * descriptor)
    tables = tuple(
        struct.unpack_from("<I", descriptors, index * descriptor + 8)[0] for index in range(groups)
    )
    inode_size, per_group = (
        struct.unpack_from("<H", head, 1024 + 0x58)[0],
        struct.unpack_from("<I", head, 1024 + 0x28)[0],
    )
    return _Ext4(block=block, inode_size=inode_size, per_group=per_group, tables=tables)


def _slots(left: Path, right: Path, offset: int, size: int) -> list[int]:
    """Return which inodes of `size` bytes differ in a block of them."""
    with left.open("rb") as one, right.open("rb") as other:
        one.seek(offset)
        other.seek(offset)
        here, there = one.read(BLOCK), other.read(BLOCK)
    return [
        slot
        for slot in range(len(here) // size)
        if here[slot * size : (slot + 1) * size] != there[slot * size : (slot + 1) * size]
    ]


@contextlib.contextmanager
def _linked(disk: Path) -> Iterator[Path]:
    """Yield a directory in which the disk is called `disk`: of its path libext2fs would read options after a
    `?` (openfs.c of 1.47), and mtools after `@@` (config.c of 4.0.33).
    """
    with temporary.directory("compare") as work:
        (work / "disk").symlink_to(disk.absolute())
        yield work


def _debugfs(disk: Path, area: Area, request: str) -> list[str]:
    with _linked(disk) as work:
        return command.run(
            ["debugfs", "-R", request, f"disk?offset={area.start}"], cwd=work, quiet=True
        ).splitlines()[1:]


def _names(disk: Path, area: Area, inodes: Sequence[int]) -> Iterator[tuple[int, str]]:
    if inodes:
        for line in _debugfs(disk, area, f"ncheck {' '.join(str(inode) for inode in inodes)}"):
            number, _, name = line.partition("\t")
            if number.strip().isdigit():
                yield int(number), name


# --- xfs and FAT --------------------------------------------------------------------------------------------


def _xfs(left: Path, right: Path, area: Area, blocks: Sequence[int]) -> tuple[str, ...]:
    """Ask xfs_db who uses a block (blockget, blockuse, ncheck); it wants the file system at the start of a
    file.
    """
    candidates = {offset: _xfs_inodes(left, right, area, offset) for offset in blocks[:SHOWN]}
    requests = ["blockget -n"]
    for offset in candidates:
        requests += [f"daddr {(offset - area.start) // 512}", "blockuse -n"]
    requests.append("ncheck " + " ".join(f"-i {inode}" for inodes in candidates.values() for inode in inodes))
    with exported(left, "raw", writable=False, part=(area.start, area.size)) as alone:
        argv: list[str | Path] = [
            "xfs_db",
            "-r",
            "-f",
            *[word for request in requests for word in ("-c", request)],
            alone,
        ]
        lines = command.run(argv, quiet=True).splitlines()
    names = {number: name for line in lines for number, name in re.findall(r"^\s*(\d+) (\S.*)$", line)}
    found: list[str] = []
    for offset, line in zip(candidates, (line for line in lines if line.startswith("block ")), strict=False):
        match = re.match(r"block \d+ \((\d+/\d+)\) type (.*)$", line)
        if match is not None and match.group(2) == "inode":
            found += [f"inode {inode}: {names.get(str(inode), '(no name)')}" for inode in candidates[offset]]
        elif match is not None:
            found.append(f"block {match.group(1)}: {match.group(2)}")
    return (*found[: 2 * SHOWN], *([f"and {len(blocks) - SHOWN} more blocks"] if len(blocks) > SHOWN else []))


def _xfs_inodes(left: Path, right: Path, area: Area, offset: int) -> list[int]:
    """Return the inodes that differ in a block, if it is one of inodes (xfs_format.h: sb_inodesize,
    sb_inopblog, sb_agblklog, sb_agblocks).
    """
    with left.open("rb") as stream:
        stream.seek(area.start)
        head = stream.read(512)
    size, (per_block, in_group) = (
        struct.unpack_from(">H", head, 0x68)[0],
        struct.unpack_from(">BB", head, 0x7B),
    )
    group, block = divmod((offset - area.start) // BLOCK, struct.unpack_from(">I", head, 0x54)[0])
    first = ((group << in_group) + block) << per_block
    return [first + slot for slot in _slots(left, right, offset, size)]


def _clusters(disk: Path, place: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what mshowfat says of every file; `place` is `disk@@OFFSET`, seen from where both programs
    run.
    """
    with _linked(disk) as work:
        names = command.run(
            ["mdir", "-/", "-b", "-i", place, "::"], env=environment, cwd=work, quiet=True
        ).splitlines()
        show = ["mshowfat", "-i", place]
        return {
            name: command.run([*show, name], env=environment, cwd=work, quiet=True)
            for name in names
            if not name.endswith("/")
        }


def _fat(left: Path, right: Path, area: Area, blocks: Sequence[int]) -> tuple[str, ...]:
    """Name the files of a FAT file system whose clusters differ (mtools: mdir, mshowfat)."""
    del right
    place = f"disk@@{area.start}"
    environment = {"MTOOLS_SKIP_CHECK": "1"}
    with left.open("rb") as stream:
        stream.seek(area.start)
        head = stream.read(512)
    sector, per_cluster, reserved, copies = struct.unpack_from("<HBHB", head, 11)
    entries, short_fat, long_fat = (
        struct.unpack_from("<H", head, 17)[0],
        struct.unpack_from("<H", head, 22)[0],
        struct.unpack_from("<I", head, 36)[0],
    )
    data = (reserved + copies * (short_fat or long_fat)) * sector + entries * 32
    clusters = {
        2 + (block - area.start - data) // (per_cluster * sector)
        for block in blocks
        if block - area.start >= data
    }
    found = (
        ["its boot sector or allocation table"] if any(block - area.start < data for block in blocks) else []
    )
    for name, said in _clusters(left, place, environment).items():
        ranges = [(int(first), int(last or first)) for first, last in re.findall(r"<(\d+)(?:-(\d+))?>", said)]
        if any(first <= cluster <= last for cluster in clusters for first, last in ranges):
            found.append(name.removeprefix("::"))
    return tuple(found or ["a directory"])
