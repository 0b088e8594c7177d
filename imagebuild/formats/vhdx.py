"""VHDX ("VHDX Format Specification" 1.00, Microsoft, 2012): the disk of Hyper-V.

qemu-img writes it with ids of chance, and leaves its log behind; both are replaced by what follows from the
commit, so that the same disk gives the same bytes.
"""

import functools
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pydantic import Field

from imagebuild.config.fields import Model
from imagebuild.errors import BuildError
from imagebuild.formats.format import X86_64_ONLY, Format, Magic, Source, Unpacked, refuse
from imagebuild.formats.vhd import CLOUDS
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

MIB = 1 << 20
MAGIC = b"vhdxfile"
# 2.2, "Header Section": two headers, of which the one with the larger sequence number holds; then two region
# tables
HEADERS, REGIONS = (65536, 131072), (196608, 262144)
HEADER_SIZE, REGION_SIZE = 4096, 65536
# signature, checksum, sequence number, ids of the file's and the data's last change, id of the log, its
# version, that of the format, length and place of the log; all little-endian
HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
# signature, checksum, number of entries; each an id, place, length, whether a reader must know it
TABLE, ENTRY = struct.Struct("<4sII4x"), struct.Struct("<16sQII")
# 2.6, "Metadata Region": a signature and the number of entries; each an id, place in the region, length,
# flags
METADATA, ITEM = struct.Struct("<8s2xH20x"), struct.Struct("<16sIII4x")
MOST_ENTRIES = 2047
LARGEST = 64 << 40
NO_LOG = bytes(16)
# where no file has anything, and which every file system can be asked for
FAR = 1 << 43


def _id(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


METADATA_REGION = _id("8b7ca206-4790-4b9a-b8fe-575f050f886e")
BLOCKS_REGION = _id("2dc27766-f623-4200-9d64-115e9bfd4a08")
FILE_PARAMETERS = _id("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_SIZE = _id("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
DISK_ID = _id("beca12ab-b2e6-4523-93ef-c309e000c746")
HAS_PARENT = 2


class VhdxConfig(Model):
    """How a VHDX is written: in blocks of so many MiB (a power of two; 2.6.2.1, "File Parameters")."""

    block: Literal[1, 2, 4, 8, 16, 32, 64, 128, 256] = Field(default=1, description="MiB")


def write(source: Source, out: Path, name: str, options: VhdxConfig) -> Path:
    """Convert a disk to a dynamic VHDX. Raises BuildError when qemu-img's is not as it should be."""
    file = out / f"{name}.vhdx"
    settings = ("subformat=dynamic", f"block_size={options.block * MIB}")
    disk_image.convert(source.disk.file, source.disk.format, file, "vhdx", options=settings)
    _set_identity(file, source.seed)
    return file


@dataclass(frozen=True)
class _Structure:
    """What of a VHDX says where the rest is: the valid header, the regions by id (place, length), the
    metadata's items by id (place in the file, length).
    """

    header: tuple[int, bytes, int, int]
    regions: dict[bytes, tuple[int, int]]
    items: dict[bytes, tuple[int, int]]


class _DamagedError(Exception):
    """Says what a VHDX lacks."""


def _read(stream: IO[bytes]) -> _Structure:
    """Return the structure of a VHDX. Raises _DamagedError."""
    stream.seek(0)
    if stream.read(len(MAGIC)) != MAGIC:
        raise _DamagedError("it does not begin as a VHDX does")
    headers = [header for place in HEADERS if (header := _header(stream, place)) is not None]
    if not headers:
        raise _DamagedError("neither of its two headers is intact")
    regions = next((table for place in REGIONS if (table := _regions(stream, place)) is not None), None)
    if regions is None:
        raise _DamagedError("neither of its two region tables is intact")
    if not {METADATA_REGION, BLOCKS_REGION} <= set(regions):
        raise _DamagedError("it has no region of metadata, or none of blocks")
    return _Structure(max(headers), regions, dict(_items(stream, *regions[METADATA_REGION])))


def _header(stream: IO[bytes], place: int) -> tuple[int, bytes, int, int] | None:
    """Return (sequence number, log's id, its length and place) of a whole header."""
    data = _part(stream, place, HEADER_SIZE)
    signature, written, number, _, _, log, _, version, length, where = HEADER.unpack_from(data)
    whole = signature == b"head" and written == crc32c(_without_checksum(data)) and version == 1
    return (number, log, length, where) if whole else None


def _regions(stream: IO[bytes], place: int) -> dict[bytes, tuple[int, int]] | None:
    data = _part(stream, place, REGION_SIZE)
    signature, written, count = TABLE.unpack_from(data)
    if signature != b"regi" or count > MOST_ENTRIES or written != crc32c(_without_checksum(data)):
        return None
    entries = (ENTRY.unpack_from(data, TABLE.size + number * ENTRY.size) for number in range(count))
    return {identifier: (where, length) for identifier, where, length, _ in entries}


def _items(stream: IO[bytes], place: int, length: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    if length < REGION_SIZE:
        raise _DamagedError(f"its region of metadata has {length} bytes")
    data = _part(stream, place, REGION_SIZE)
    signature, count = METADATA.unpack_from(data)
    if signature != b"metadata" or count > MOST_ENTRIES:
        raise _DamagedError("its region of metadata has no table")
    for number in range(count):
        identifier, offset, size, _ = ITEM.unpack_from(data, METADATA.size + number * ITEM.size)
        yield identifier, (place + offset, size)


def _part(stream: IO[bytes], place: int, size: int) -> bytes:
    stream.seek(min(place, FAR))
    data = stream.read(size)
    if len(data) < size:
        raise _DamagedError("it ends too early: is it a whole download?")
    return data


def _without_checksum(data: bytes) -> bytes:
    return data[:4] + bytes(4) + data[8:]


@functools.cache
def _table() -> tuple[int, ...]:
    """Return the table of CRC-32C (Castagnoli, RFC 3720 B.4), reflected polynomial 0x82F63B78."""
    values = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901  # eight steps of one value
        values.append(value)
    return tuple(values)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes; zlib has another one."""
    table, value = _table(), 0xFFFF_FFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFF_FFFF


def _set_identity(file: Path, seed: str) -> None:
    """Replace all ids, number the headers 1 and 2, and empty the log, which is not in use."""
    with file.open("r+b") as stream:
        try:
            structure = _read(stream)
        except _DamagedError as error:
            raise BuildError(f"{file.name}: {error}", hint="did qemu-img change its vhdx writer?") from error
        _, log, length, where = structure.header
        if log != NO_LOG or DISK_ID not in structure.items:
            raise BuildError(
                f"{file.name} has a log in use, or no id", hint="did qemu-img change its vhdx writer?"
            )
        stream.seek(where)
        stream.write(bytes(length))
        stream.seek(structure.items[DISK_ID][0])
        stream.write(_own_id(seed, "disk"))
        for number, place in enumerate(HEADERS, 1):
            _write_header(stream, place, number, seed)


def _write_header(stream: IO[bytes], place: int, number: int, seed: str) -> None:
    data = bytearray(_part(stream, place, HEADER_SIZE))
    fields = list(HEADER.unpack_from(data))
    fields[1:5] = [0, number, _own_id(seed, "file"), _own_id(seed, "data")]
    HEADER.pack_into(data, 0, *fields)
    struct.pack_into("<I", data, 4, crc32c(bytes(data)))
    stream.seek(place)
    stream.write(data)


def _own_id(seed: str, what: str) -> bytes:
    return uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuild:{seed}:vhdx {what}").bytes_le


def problems(file: Path) -> list[str]:
    """Return what is wrong with a VHDX, a sentence each."""
    with file.open("rb") as stream:
        try:
            structure = _read(stream)
            return [*_places(structure, file.stat().st_size), *_content(stream, structure)]
        except _DamagedError as error:
            return [str(error)]


def _places(structure: _Structure, size: int) -> Iterator[str]:
    places = [*structure.regions.values(), (structure.header[3], structure.header[2])]
    for where, length in places:
        if where % MIB or length % MIB or where < MIB or where + length > size:
            yield f"a region of {length} bytes at {where} is not in whole MiB of the file"
            return


def _content(stream: IO[bytes], structure: _Structure) -> Iterator[str]:
    """Yield what is wrong with block size, parent and virtual size."""
    for identifier, size in ((FILE_PARAMETERS, 8), (VIRTUAL_SIZE, 8), (DISK_ID, 16)):
        if structure.items.get(identifier, (0, 0))[1] != size:
            yield "its metadata lacks block size, virtual size or id"
            return
    block, flags = struct.unpack("<II", _field(stream, structure, FILE_PARAMETERS))
    (virtual,) = struct.unpack("<Q", _field(stream, structure, VIRTUAL_SIZE))
    if not MIB <= block <= 256 * MIB or block & (block - 1):
        yield f"its blocks have {block} bytes"
    if flags & HAS_PARENT:
        yield "it reads from a parent: it is not whole"
    if virtual % 512 or not 0 < virtual <= LARGEST:
        yield f"its disk has {virtual} bytes"


def _field(stream: IO[bytes], structure: _Structure, identifier: bytes) -> bytes:
    return _part(stream, *structure.items[identifier])


def unpack(file: Path, out: Path) -> Unpacked:
    """Return the file itself, on the IDE controller of Hyper-V's machines of generation 1. Raises BuildError
    for what Hyper-V would refuse.
    """
    del out
    refuse(file.name, problems(file))
    return Unpacked(disk=file, format="vhdx", controller=Controller.IDE)


FORMAT = Format(
    name="vhdx",
    options=VhdxConfig,
    write=write,
    unpack=unpack,
    problems=problems,
    suffix="vhdx",
    arches=X86_64_ONLY,
    tools=("qemu-img",),
    cores=1,
    # not compressed
    size=1.3,
    magic=Magic(data=MAGIC),
    cosa="hyperv",
    clouds=(frozenset({"NoCloud", *next(iter(CLOUDS))}),),
    title="Hyper-V disk (vhdx)",
    text="For Hyper-V, machines of generation 1 and 2.",
    command="New-VM -Name atomic -MemoryStartupBytes 2GB -VHDPath {name} -Generation 1",
)
