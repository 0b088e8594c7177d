"""A GRUB image for UEFI that somebody else made, and signed: where it looks for its configuration, and which
modules are in it.

What grub-mkimage puts behind the core: a header (grub_module_info64: magic "mimg", padding, offset, size)
and objects (grub_module_header: type, size with this header), GRUB 2.06, include/grub/kernel.h. A module is
an ELF object whose section .modname is its name (util/grub-module-verifierXX.c).
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imagebuild.errors import BuildError

MAGIC = b"mimg"
INFO, OBJECT = struct.Struct("<4s4xQQ"), struct.Struct("<II")
# enum in kernel.h
ELF, PREFIX = 0, 3
# an object of a whole image: none is as large as this
LARGEST = 64 << 20
PATH = re.compile(r"/[A-Za-z0-9._/-]*")


@dataclass(frozen=True, kw_only=True)
class GrubImage:
    """`prefix` is a path on the device that the image is loaded from; `modules` are the names of those that
    are in it.
    """

    prefix: str
    modules: frozenset[str]


def read(data: bytes) -> GrubImage:
    """Read an image. Raises BuildError for what is none, or has a prefix that names a device."""
    objects = next((found for found in map(_objects, _places(data), _repeat(data)) if found), [])
    prefixes = [
        body.split(b"\0", 1)[0].decode("ascii", "replace") for kind, body in objects if kind == PREFIX
    ]
    if not prefixes:
        raise BuildError("it is no GRUB image: there is no prefix in it")
    if not PATH.fullmatch(prefixes[0]) or ".." in prefixes[0]:
        raise BuildError(
            f"it looks for its configuration in {prefixes[0]!r}, which is not on what it is loaded from"
        )
    names = (_module_name(body) for kind, body in objects if kind == ELF)
    return GrubImage(prefix=prefixes[0].rstrip("/"), modules=frozenset(filter(None, names)))


def _repeat(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


def _places(data: bytes) -> Iterator[int]:
    yield from (match.start() for match in re.finditer(MAGIC, data))


def _objects(start: int, data: bytes) -> list[tuple[int, bytes]]:
    """Return (type, content) of each object behind a header; nothing when it is none."""
    if start + INFO.size > len(data):
        return []
    _, offset, size = INFO.unpack_from(data, start)
    if not INFO.size <= offset <= size <= min(LARGEST, len(data) - start):
        return []
    position, end, found = start + offset, start + size, list[tuple[int, bytes]]()
    while position + OBJECT.size <= end:
        kind, length = OBJECT.unpack_from(data, position)
        if not OBJECT.size <= length <= end - position:
            return []
        found.append((kind, data[position + OBJECT.size : position + length]))
        position += length
    return found


def _module_name(elf: bytes) -> str:
    """Return what the section .modname of an ELF object (System V ABI, 64-bit) holds; empty when it has
    none.
    """
    try:
        (table,) = struct.unpack_from("<Q", elf, 0x28)
        size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", elf, table + number * size) for number in range(count)]
        strings = headers[names][4]
        for name, _, _, _, offset, length in headers:
            if elf[strings + name :].startswith(b".modname\0"):
                return elf[offset : offset + length].split(b"\0", 1)[0].decode("ascii", "replace")
    except (struct.error, IndexError):
        pass
    return ""
