"""The lock files have everything that is declared, with hashes: both commands install from them alone."""

import re
import tomllib

import pytest

from tests.data import ROOT

METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, GROUPS = METADATA["project"], METADATA["dependency-groups"]
EXTRAS = [name for extra in PROJECT["optional-dependencies"].values() for name in extra]


def plain(requirement: str) -> str:
    """Return a requirement's name as PyPI compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=;]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("run", [*PROJECT["dependencies"], *GROUPS["build"]]),
        ("dev", [*PROJECT["dependencies"], *GROUPS["build"], *GROUPS["dev"], *EXTRAS]),
    ],
)
def test_what_is_declared_is_locked(name: str, declared: list[str]) -> None:
    text = (ROOT / ".ci" / "locked" / f"{name}.txt").read_text()
    entries = re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)
    missing = {plain(requirement) for requirement in declared} - {plain(entry) for entry in entries}
    assert not missing, "run `make lock`"
    assert text.count("--hash=sha256:") >= len(entries)
    assert "index-url" not in text
    assert "://" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE)
