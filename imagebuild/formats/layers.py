"""What an image file is by its first bytes, through whatever it is compressed with; and its content, unpacked
with care.

An image from elsewhere is hostile until it was looked at: what it unpacks to has bounds, in size, in memory,
and in how often it is packed.
"""

import contextlib
import itertools
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from imagebuild.errors import BuildError
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.tools import command

# the first bytes of kinds that are not written here, at an offset (file(1)'s magic; "vpc" is QEMU's name of
# VHD)
OTHERS = (
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zst"),
    (0, b"\x1f\x8b\x08", "gz"),
    (0, b"BZh", "bz2"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    # what pzstd and lz4 -l begin with: a frame to be skipped, which has the next one's size, and a frame of
    # the kind before 2013
    (0, b"\x50\x2a\x4d\x18", "zst"),
    (0, b"\x02\x21\x4c\x18", "lz4"),
    (0, b"PK\x03\x04", "zip"),
    (257, b"ustar", "tar"),
)
WRITTEN = tuple(
    (kind.magic.offset, kind.magic.data, kind.name) for kind in FILE_KINDS.values() if kind.magic is not None
)
# what comes first in a file decides; a boot sector is in many of the others, too
MAGIC = (*sorted((*WRITTEN, *OTHERS), key=lambda row: row[0]), (510, b"\x55\xaa", "raw"))
# an .xz may ask for a dictionary of 4 GiB
COMPRESSIONS = {
    "xz": ("xz", "--decompress", "--stdout", "--threads=0", "--memlimit-decompress=1GiB"),
    "zst": ("zstd", "--decompress", "--stdout", "--quiet"), "gz": ("gzip", "--decompress", "--stdout"),
    "bz2": ("bzip2", "--decompress", "--stdout"), "lz4": ("lz4", "--decompress", "--stdout", "--quiet"),
}  # fmt: skip
HEAD = 1 << 16
# how often something may be packed: qcow2.xz in a tar.gz is three times
DEEPEST = 4
LARGEST = 1 << 40
CHUNK = 1 << 18
# bytes that stay free in the file system that is unpacked into, and how many may be written before they are
# looked at again
RESERVE, BETWEEN = 256 << 20, 64 << 20


def kind_of(head: bytes) -> str | None:
    """Return what something is whose first 64 KiB are given; None for what is not known."""
    kind = next((name for offset, magic, name in MAGIC if head[offset : offset + len(magic)] == magic), None)
    if kind is None and len(head) >= tarfile.BLOCKSIZE:
        # archives from before POSIX have a checksum only
        with contextlib.suppress(tarfile.TarError):
            tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
            return "tar"
    return kind


def head_of(file: Path, packed: Sequence[str] = ()) -> bytes:
    """Return the first 64 KiB of what is in a file; `packed` are the compressions around it, the outermost
    first.
    """
    with stream_of(file, packed, whole=False) as stream:
        return stream.read(HEAD)


def recognise(file: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the compressions of a file, the outermost first, and what is in them. Raises BuildError for what
    is packed too often.
    """
    packed: tuple[str, ...] = ()
    while (kind := kind_of(head_of(file, packed))) in COMPRESSIONS:
        packed = (*packed, kind)
        if len(packed) > DEEPEST:
            raise BuildError(
                f"{file.name} is compressed more than {DEEPEST} times", hint="where did you get that image?"
            )
    return packed, kind


@contextlib.contextmanager
def stream_of(file: Path, packed: Sequence[str], *, whole: bool = True) -> Iterator[IO[bytes]]:
    """Open what is in a file for reading. Raises BuildError at the end when it does not unpack to its end
    (`whole`).
    """
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(file.open("rb"))
        processes = []
        for kind in packed:
            read_end, write_end = os.pipe()
            with os.fdopen(write_end, "wb") as sink:
                processes.append(
                    command.Process(COMPRESSIONS[kind], stdin=stream, stdout=sink, quiet=not whole)
                )
            stack.callback(processes[-1].end)
            stream = stack.enter_context(os.fdopen(read_end, "rb"))
        yield stream
        if not whole:
            return
        for process, kind in zip(processes, packed, strict=True):
            if process.wait() != 0:
                raise BuildError(
                    f"{file.name} is damaged: {kind} said {process.complaint().strip()[-300:]!r}",
                    hint="is it a whole download?",
                )


def write(stream: IO[bytes], target: Path, what: str) -> Path:
    """Write a stream to a file, runs of zeros as holes. Raises BuildError for what is larger than 1 TiB, or
    than there is room.
    """
    try:
        return _write(stream, target, what)
    except OSError as error:
        raise BuildError(
            f"{what} cannot be unpacked into {target.parent}: {error.strerror or error}"
        ) from error


def _write(stream: IO[bytes], target: Path, what: str) -> Path:
    size = unchecked = 0
    with target.open("wb") as copy:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > LARGEST:
                raise BuildError(
                    f"{what} unpacks to more than {LARGEST >> 40} TiB", hint="where did you get that image?"
                )
            if chunk.count(0) == len(chunk):
                copy.seek(len(chunk), os.SEEK_CUR)
                continue
            unchecked += len(chunk)
            if unchecked >= BETWEEN or size == len(chunk):
                refuse_full(target.parent, len(chunk), what)
                unchecked = 0
            copy.write(chunk)
        copy.truncate(size)
    return target


def refuse_full(directory: Path, needed: int, what: str) -> None:
    """Raise BuildError when a file system has no room for so many bytes more."""
    there = os.statvfs(directory)
    if there.f_bavail * there.f_frsize < needed + RESERVE:
        raise BuildError(
            f"there is no room for what {what} unpacks to in {directory}",
            hint="set TMPDIR to a directory with more",
        )


def unpacked(file: Path, packed: Sequence[str], work: Path) -> Path:
    """Return a file's content as a file: itself when nothing is around it."""
    if not packed:
        return file
    with stream_of(file, packed) as stream:
        return write(stream, fresh(work), file.name)


def fresh(work: Path) -> Path:
    """Return a name in a directory that nothing has yet."""
    return next(path for number in itertools.count(1) if not (path := work / f"unpacked-{number}").exists())


def is_fixed_vhd(file: Path) -> bool:
    """Whether a raw disk is a fixed VHD: it has a footer (Microsoft's "Virtual Hard Disk Image Format
    Specification").
    """
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 512))
        return stream.read(8) == b"conectix"
