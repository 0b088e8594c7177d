"""ISO images wherever they are: xorriso 1.5.4 takes a path below /dev for a burner."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.smoke.seed import make_seed
from imagebuild.tools import iso, iso_writer
from tests.smoke.trials import EXPECTED


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield Path(place)


def test_a_store_in_memory_has_images_too(memory: Path) -> None:
    seed = make_seed(memory, EXPECTED, 1.0)
    assert "/user-data" in iso.listing(seed)
    assert iso.read(seed, "/meta-data", memory).startswith(b"instance-id")
    (memory / "more").write_text("more\n")
    iso_writer.remaster(seed, memory / "new.iso", changed={}, added={"/more": memory / "more"}, esp=None)
    assert iso.read(memory / "new.iso", "/more", memory) == b"more\n"
    assert list(iso.extract(memory / "new.iso", ["/more"], memory / "out"))
    assert iso.offset_of(memory / "new.iso", "/more")
