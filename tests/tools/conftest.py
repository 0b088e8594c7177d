"""Fixtures of the doors' tests."""

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    # short, so that sockets lie there, too, however many digits this user's number has
    place = Path("/tmp") / secrets.token_hex(2)
    place.mkdir(mode=0o700)
    yield place
    shutil.rmtree(place)
