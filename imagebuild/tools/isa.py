"""Which x86-64 level a program was built for, as its own property note says.

Sources: x86-64 psABI 1.0, "Program Property" (NT_GNU_PROPERTY_TYPE_0, GNU_PROPERTY_X86_ISA_1_NEEDED); glibc
2.33, sysdeps/x86/isa-level.c, which leaves that note in libc.so.6 and in the start files of every program
that is linked; elf(5).
"""

import struct
from collections.abc import Iterator

PT_NOTE, PT_GNU_PROPERTY = 4, 0x6474E553
NT_GNU_PROPERTY_TYPE_0 = 5
X86_ISA_1_NEEDED = 0xC0008002
BASELINE = 1
MAX_HEADERS = 512


def level(elf: bytes) -> int:
    """Return the x86-64 level that a program needs (1 … 4); 1 when it does not say, or is not a 64-bit
    program of this kind.
    """
    try:
        return max((_needed(note) for note in _notes(elf)), default=BASELINE)
    except (struct.error, OverflowError):  # cut short, or numbers that make no sense
        return BASELINE


def _notes(elf: bytes) -> Iterator[bytes]:
    """Yield the property notes of a little-endian ELF64 file."""
    if elf[:6] != b"\x7fELF\x02\x01":
        return
    offset, (size, count) = struct.unpack_from("<Q", elf, 32)[0], struct.unpack_from("<HH", elf, 54)
    for number in range(min(count, MAX_HEADERS)):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", elf, offset + number * size)
        if kind in (PT_NOTE, PT_GNU_PROPERTY):
            yield from _properties(elf[start : start + length])


def _properties(segment: bytes) -> Iterator[bytes]:
    position = 0
    while position + 12 <= len(segment):
        name_size, size, kind = struct.unpack_from("<III", segment, position)
        name = segment[position + 12 : position + 12 + name_size]
        start = position + 12 + -(-name_size // 4) * 4
        if kind == NT_GNU_PROPERTY_TYPE_0 and name == b"GNU\0":
            yield segment[start : start + size]
        # notes with properties are aligned to 8 bytes in 64-bit programs
        position = start + -(-size // (8 if kind == NT_GNU_PROPERTY_TYPE_0 else 4)) * (
            8 if kind == NT_GNU_PROPERTY_TYPE_0 else 4
        )


def _needed(properties: bytes) -> int:
    """Return the highest level that a list of properties asks for: bit 0 is the baseline, bit 3 is v4."""
    position, highest = 0, BASELINE
    while position + 8 <= len(properties):
        kind, size = struct.unpack_from("<II", properties, position)
        if kind == X86_ISA_1_NEEDED and size == 4:
            bits = struct.unpack_from("<I", properties, position + 8)[0] & 0xF
            highest = max(highest, bits.bit_length())
        position += 8 + -(-size // 8) * 8
    return highest
