"""SBAT: lines of programs, and the levels of shim 16.1."""

import struct

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools.secure_boot import sbat
from imagebuild.tools.secure_boot.program import read
from tests import signed_parts as parts

# of shim 16.1 (Debian 16.1-2~deb12u1): set by itself, and the latest
PREVIOUS = b"sbat,1,2025021800\nshim,4\ngrub,5\n"
LATEST = b"sbat,1,2025051000\nshim,4\ngrub,5\ngrub.proxmox,2\n"
SECTION = struct.pack("<III", 0, 8, 8 + len(PREVIOUS) + 1) + PREVIOUS + b"\0" + LATEST + b"\0"


def test_the_levels_of_a_real_shim() -> None:
    shim = read(parts.SHIM.read_bytes())
    assert shim.sections[sbat.LEVELS] == SECTION
    assert sbat.levels(SECTION) == {"sbat": 1, "shim": 4, "grub": 5, "grub.proxmox": 2}


def test_the_generations_of_a_real_grub() -> None:
    grub = sbat.generations(read(parts.GRUB.read_bytes()).sections[sbat.SECTION])
    assert grub == {"sbat": 1, "grub": 5, "grub.debian": 5, "grub.debian12": 1}
    assert sbat.refused(grub, sbat.levels(SECTION)) == []
    assert sbat.refused(grub | {"grub": 4}, sbat.levels(SECTION)) == [
        "grub is of generation 4, and 5 is the least"
    ]


@pytest.mark.parametrize("section", [b"", b"\1" + SECTION[1:], SECTION[:4] + b"\xff\xff\0\0" + SECTION[8:]])
def test_levels_that_are_none(section: bytes) -> None:
    with pytest.raises(BuildError):
        sbat.levels(section)


@pytest.mark.parametrize("line", [b"grub", b"grub,", b"grub,x", b",1", "grub,²".encode()])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(BuildError):
        sbat.generations(line)


def test_a_generation_of_thousands_of_digits_is_none() -> None:
    with pytest.raises(BuildError, match="has no component and generation"):
        sbat.generations(b"shim," + b"9" * 5_000 + b"\n")
