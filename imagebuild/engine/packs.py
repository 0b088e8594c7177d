"""Files of an artifact as one compressed object, in which holes take no room.

A pack is one zstd frame (RFC 8878) of the line `imagebuild pack 1`, and then, for each file,

    {"name": …, "size": …, "mode": …}\\n      a line of JSON: size in bytes, mode the permission bits
    OFFSET LENGTH data                       any number of runs: two unsigned 64-bit numbers, little endian
    0 0                                      the end of the file

A run has at most `CHUNK` bytes and does not go over a multiple of it; blocks of zeros (`BLOCK`) are in none.
So equal files make equal packs, wherever their file systems have holes. Nothing in a pack is believed: names
and sizes are those that the reader expects, and no run lies outside its file.
"""

import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from imagebuild import json_text
from imagebuild.errors import BuildError

MAGIC = b"imagebuild pack 1\n"
CHUNK, BLOCK = 1 << 20, 1 << 16
ZEROS = bytes(BLOCK)
RUN = struct.Struct("<QQ")
END = RUN.pack(0, 0)
# names of artifacts' files are paths in a store
HEAD_SIZE = 8192
# the fastest that still halves a disk (measured on the demo's: docs/shared-store.md)
LEVEL = 1
# what a reader of level 1 needs is 512 KiB (zstd's own table, zstd_compress.c, ZSTD_defaultCParameters)
MOST_WINDOW = 1 << 23
REGULAR = 0o7777


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """A file in a pack: its size in bytes, its permission bits, and a sha256 of its content."""

    size: int
    mode: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A pack: the sha256 and the size of its bytes, and its files by their names."""

    sha256: str
    size: int
    files: Mapping[str, PackedFile]


class DamagedPackError(BuildError):
    """A pack is not what it should be: cut, changed, or never right."""


class Source(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes; none at the end."""
        ...


class _Written:
    """A compressed stream that knows the sha256 of what went in (of one file), and of what came out."""

    def __init__(self, target: IO[bytes]) -> None:
        # only who has a remote needs it
        import zstandard  # noqa: PLC0415  dear, and only for a store with a remote

        self._target = target
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self.content, self.packed, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> None:
        self.content.update(data)
        self._put(self._compressor.compress(bytes(data) if isinstance(data, memoryview) else data))

    def close(self) -> None:
        self._put(self._compressor.flush())

    def _put(self, data: bytes) -> None:
        if data:
            self.packed.update(data)
            self.size += len(data)
            self._target.write(data)


def write_pack(sources: Mapping[str, Path], target: Path) -> Pack:
    """Write files (name -> where they lie) into a new pack. Holes are not read (lseek(2), SEEK_DATA)."""
    packed: dict[str, PackedFile] = {}
    with target.open("xb") as stream:
        out = _Written(stream)
        out.write(MAGIC)
        for name, file in sources.items():
            packed[name] = _write_file(out, name, file)
        out.close()
    return Pack(sha256=out.packed.hexdigest(), size=out.size, files=packed)


def _write_file(out: _Written, name: str, file: Path) -> PackedFile:
    with file.open("rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        size, mode = status.st_size, status.st_mode & REGULAR
        head = json.dumps({"name": name, "size": size, "mode": mode}, sort_keys=True).encode() + b"\n"
        if len(head) > HEAD_SIZE:
            raise BuildError(f"the name of {file} is too long to be packed")
        out.write(head)
        # the digest is of the size and the runs: names and modes are compared as they are
        out.content = hashlib.sha256(f"{size};".encode())
        for position in _positions(stream.fileno(), size):
            _write_runs(out, position, os.pread(stream.fileno(), min(CHUNK, size - position), position))
        digest = out.content.hexdigest()
    out.write(END)
    return PackedFile(size=size, mode=mode, digest=digest)


def _positions(handle: int, size: int) -> Iterator[int]:
    """Yield the multiples of CHUNK at which a file has anything but a hole."""
    position = 0
    while position < size:
        try:
            data = os.lseek(handle, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole
            return
        position = data - data % CHUNK
        yield position
        position += CHUNK


def _write_runs(out: _Written, position: int, chunk: bytes) -> None:
    """Write what is not zero of a chunk."""
    view, begin = memoryview(chunk), None
    for offset in range(0, len(chunk) + BLOCK, BLOCK):
        block = view[offset : offset + BLOCK]
        if len(block) and block != ZEROS[: len(block)]:
            begin = offset if begin is None else begin
        elif begin is not None:
            end = min(offset, len(chunk))
            out.write(RUN.pack(position + begin, end - begin))
            out.write(view[begin:end])
            begin = None


# --- reading ------------------------------------------------------------------------------------------------


class _Hashed(io.RawIOBase):
    """A source whose sha256 and size are known when it was read."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.sha256, self.size = hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self.sha256.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)


def read_pack(
    source: Source, into: Path, expects: Callable[[str, int], bool], *, sha256: str, size: int
) -> list[str]:
    """Write a pack's files below `into`, with holes; return their names.

    `expects` says whether there is to be a file of that name (below `into`) and size in it. Raises
    DamagedPackError when the pack is not the one of that sha256 and size: what was written then is worthless.
    """
    import zstandard  # noqa: PLC0415  dear, and only for a store with a remote

    hashed = _Hashed(source)
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW)
        stream = io.BufferedReader(decompressor.stream_reader(cast("IO[bytes]", hashed)), CHUNK)
        names = list(_read_files(stream, into, expects))
    except zstandard.ZstdError as error:
        raise DamagedPackError(f"it cannot be decompressed: {error}") from error
    if hashed.read(1):
        raise DamagedPackError("more follows than belongs to it")
    if (hashed.sha256.hexdigest(), hashed.size) != (sha256, size):
        raise DamagedPackError("its bytes do not match the sha256 in its name")
    return names


def _read_files(stream: BinaryIO, into: Path, expects: Callable[[str, int], bool]) -> Iterator[str]:
    if _exactly(stream, len(MAGIC)) != MAGIC:
        raise DamagedPackError("it is not a pack of files")
    while head := stream.readline(HEAD_SIZE):
        try:
            said = json_text.parse(head)
            name, size, mode = str(said["name"]), int(said["size"]), int(said["mode"])
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedPackError("it does not say what is in it") from error
        if not expects(name, size):
            raise DamagedPackError(f"it holds {name[:200]!r} ({size} bytes), which nobody expects")
        _read_file(stream, into / name, size, mode & REGULAR)
        yield name


def _read_file(stream: BinaryIO, file: Path, size: int, mode: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb", buffering=0) as target:
        target.truncate(size)
        while (run := _exactly(stream, RUN.size)) != END:
            offset, length = RUN.unpack(run)
            if length > CHUNK or offset + length > size:
                raise DamagedPackError(f"it has something for {file.name} that does not fit into it")
            os.pwrite(target.fileno(), _exactly(stream, length), offset)
        os.fchmod(target.fileno(), mode)


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise DamagedPackError("it ends too early")
    return data
