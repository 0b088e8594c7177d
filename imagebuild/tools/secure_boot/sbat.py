"""Generations of components (SBAT): what a program says of itself, and what a shim refuses.

Source: shim 16.1, its document SBAT (a line is: component, generation, and more), include/sbat.h and sbat.c.
Section .sbatlevel: a format (0), then the offsets, from the second word on, of two texts that end with NUL:
the levels that shim sets by itself, and the latest that it knows, which an administrator can ask for (mokutil
--set-sbat-policy latest).
"""

import re
import struct
from collections.abc import Mapping

from imagebuild.errors import BuildError

SECTION, LEVELS = ".sbat", ".sbatlevel"
HEADER = struct.Struct("<III")
WORD = 4
# shim reads it with atoi, as an int of 32 bits (sbat.c)
GENERATION = re.compile(r"[0-9]{1,10}")


def generations(text: bytes) -> dict[str, int]:
    """Return component -> generation of a text of lines. Raises BuildError for one that shim cannot read."""
    found = dict[str, int]()
    for line in text.split(b"\0", 1)[0].decode("utf-8", "replace").splitlines():
        name, generation = (*line.split(","), "")[:2]
        if line.strip():
            if not name or not GENERATION.fullmatch(generation):
                raise BuildError(f"its SBAT line {line[:60]!r} has no component and generation")
            found[name] = int(generation)
    return found


def levels(section: bytes) -> dict[str, int]:
    """Return component -> lowest generation of a section .sbatlevel: the higher of both texts. Raises
    BuildError.
    """
    if len(section) < HEADER.size:
        raise BuildError(f"its {LEVELS} is too short")
    version, *offsets = HEADER.unpack_from(section)
    if version != 0 or any(WORD + offset > len(section) for offset in offsets):
        raise BuildError(f"its {LEVELS} has a format that is not known here: {version}")
    found = dict[str, int]()
    for offset in offsets:
        for name, generation in generations(section[WORD + offset :]).items():
            found[name] = max(generation, found.get(name, 0))
    return found


def refused(program: Mapping[str, int], least: Mapping[str, int]) -> list[str]:
    """Return what of a program is below a level, a phrase each; nothing when it may be started."""
    return [
        f"{name} is of generation {generation}, and {least[name]} is the least"
        for name, generation in sorted(program.items())
        if generation < least.get(name, 0)
    ]
