"""No step remembers the test before."""

import pytest

from tests.engine.sample_steps import calls


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()
