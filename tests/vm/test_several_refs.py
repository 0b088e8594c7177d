"""Two refs by one command: a second line with another package list is composed beside the demo's; each
becomes a booted, tested and verified release, and has a report of its own.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.engine.store import remove
from imagebuild.kinds import State
from imagebuild.release_line.model import Config
from tests.vm.conftest import REF
from tests.vm.matrix import PROGRAM, small_matrix

OTHER = "debian/12/x86_64/other-host"

# a tree is composed, two disks are installed, booted and tested
pytestmark = pytest.mark.slow


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def own_store(settings: Config, store: Path, tmp_path: Path) -> Iterator[Path]:
    """A store in which nothing is finished yet, beside the same composed trees."""
    del settings
    place = tmp_path / "store"
    place.mkdir()
    (place / "compose").symlink_to((store / "compose").resolve())
    yield place
    remove(place)


def test_two_refs_become_two_releases(own_store: Path, tmp_path: Path) -> None:
    one, other = small_matrix(tmp_path), tmp_path / "other.yaml"
    text = one.read_text()
    assert "    - less\n" in text
    other.write_text(text.replace(REF, OTHER).replace("    - less\n", "    - vim-tiny\n"))
    composed = run("compose", "--config", other, "--store", own_store)
    assert composed.returncode == 0, composed.stdout + composed.stderr
    output, reports = tmp_path / "release", tmp_path / "reports"
    asked: list[str | Path] = ["--config", one, "--config", other, "--store", own_store, "--output", output]
    finished = run("all", *asked, "--reports", reports)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for ref in (REF, OTHER):
        cells = json.loads((reports / ref / "verdict.json").read_text())
        assert {cell["state"] for cell in cells} == {State.PASSED, State.NOT_APPLICABLE}
        assert f"{ref}: released: " in finished.stdout
    released = sorted(file.parent for file in output.glob("*/COMPOSE_ID"))
    assert len(released) == 2
    for place in released:
        key = own_store / "compose" / "signing-key.asc"
        verified = run("verify", place, "--key", key)
        assert verified.returncode == 0, verified.stdout
    # of one ref alone nothing is left to do
    again = run("all", "--config", other, "--store", own_store, "--output", output)
    assert again.returncode == 0, again.stderr
    assert "started" not in again.stdout
