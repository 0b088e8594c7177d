"""Golden files: what was printed before is printed again, or the change is looked at (`pytest
--update-golden`).
"""

from pathlib import Path

import pytest


def check_golden(request: pytest.FixtureRequest, name: str, text: str) -> None:
    """Compare with the golden file, or write it when asked to."""
    file = Path(__file__).parent / name
    if request.config.getoption("--update-golden"):
        file.write_text(text)
    assert file.exists(), f"no golden file {name}: run pytest --update-golden and look at it"
    assert text == file.read_text()
