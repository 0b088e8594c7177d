"""What an image file is by its first bytes, through whatever it is compressed with; and its content, unpacked
with care.

An image from elsewhere is hostile until it was looked at: what it unpacks to has bounds, in size, in memory,
and in how often it is packed.
"""

import contextlib
import itertools
import tarfile
from collections.abc import Sequence
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.formats import bounded
from imagebuild.formats.registry import FILE_KINDS

# the first bytes of kinds that are not written here, at an offset (file(1)'s magic; "vpc" is QEMU's name of
# VHD)
OTHERS = (
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
HEAD = 1 << 16
# how often something may be packed: qcow2.xz in a tar.gz is three times
DEEPEST = 4


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
    with bounded.stream_of(file, packed, whole=False) as stream:
        return stream.read(HEAD)


def recognise(file: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the compressions of a file, the outermost first, and what is in them. Raises BuildError for what
    is packed too often.
    """
    packed: tuple[str, ...] = ()
    while (kind := kind_of(head_of(file, packed))) in bounded.COMPRESSIONS:
        packed = (*packed, kind)
        if len(packed) > DEEPEST:
            raise BuildError(
                f"{file.name} is compressed more than {DEEPEST} times", hint="where did you get that image?"
            )
    return packed, kind


def unpacked(file: Path, packed: Sequence[str], work: Path) -> Path:
    """Return a file's content as a file: itself when nothing is around it."""
    if not packed:
        return file
    with bounded.stream_of(file, packed) as stream:
        return bounded.write(stream, fresh(work), file.name)


def fresh(work: Path) -> Path:
    """Return a name in a directory that nothing has yet."""
    return next(path for number in itertools.count(1) if not (path := work / f"unpacked-{number}").exists())
