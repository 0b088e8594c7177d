"""Which processor a program needs, read from its note: programs that GNU ld 2.40 linked (tests/data/elf)."""

from pathlib import Path

import pytest

from imagebuild.tools import isa
from tests import data as tests_data

DATA = tests_data.DATA / "elf"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("no-note", 1), ("x86-64-baseline", 1), ("x86-64-v2", 2), ("x86-64-v3", 3), ("x86-64-v4", 4)],
)
def test_the_level_is_that_of_the_linker(name: str, expected: int) -> None:
    assert isa.level((DATA / name).read_bytes()) == expected


def test_debians_own_programs_need_nothing_more_than_the_baseline() -> None:
    # Debian 12 … 14 are built for x86-64-v1 (the architecture's baseline, release notes)
    assert isa.level(Path("/usr/bin/env").read_bytes()) == 1


@pytest.mark.parametrize("length", [0, 3, 6, 40, 60, 64, 100, 200, 240, 300])
def test_what_is_cut_short_or_no_program_needs_nothing(length: int) -> None:
    assert isa.level((DATA / "x86-64-v3").read_bytes()[:length]) == (1 if length < 264 else 3)
    assert isa.level(b"#!/bin/sh\n" + b"\xff" * length) == 1
    assert isa.level(b"\x7fELF\x02\x01" + b"\xff" * length) == 1
