"""Two releases, a fortnight apart, through the command line: what changed, what trends, who upgrades from
what, and out they go.
"""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from imagebuild.engine.store import remove
from imagebuild.publish import facts
from imagebuild.smoke.criteria.registry import names
from imagebuild.tools import web
from imagebuild.tools.ostree.repository import Repo
from tests.vm.conftest import REF
from tests.vm.matrix import PROGRAM, small_matrix

UPGRADE = "upgrades-from-the-previous-release"


def imagebuild(*argv: str | Path) -> str:
    # kept with the test's output: these runs are long
    finished = subprocess.run([PROGRAM, *argv], stdout=subprocess.PIPE, text=True, check=False)
    print(finished.stdout)
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


@pytest.mark.slow
def test_a_second_release_says_what_changed_and_both_go_out(tmp_path: Path, browser: Browser) -> None:
    configuration, store, output = small_matrix(tmp_path), tmp_path / "store", tmp_path / "releases"
    where: list[str | Path] = ["--config", configuration, "--store", store]
    every: list[str | Path] = [*where, "--ref", REF, "--output", output]
    imagebuild("compose", *where)
    imagebuild("all", *every, "--date", "20261112")
    first = output / "Debian-Atomic-12-20261112.0"
    imagebuild("promote", first, *where)

    text = configuration.read_text()
    configuration.write_text(text.replace("    - less\n", "    - less\n    - nano\n"))
    imagebuild("compose", *where)
    imagebuild("all", *every, "--date", "20261126")
    looks_right(configuration, store, output, browser)
    again = imagebuild("all", *every)
    assert "started" not in again
    assert f"released before: {output / 'Debian-Atomic-12-20261126.0'}" in again
    remove(store)


def looks_right(configuration: Path, store: Path, output: Path, browser: Browser) -> None:
    """Check the second release, and promote it."""
    first, second = output / "Debian-Atomic-12-20261112.0", output / "Debian-Atomic-12-20261126.0"
    old, new = facts.read(first), facts.read(second)

    # what changed
    assert new.previous is not None
    assert (new.previous.commit, new.tree.version) == (old.tree.commit, "12.3")
    changes = (second / "metadata" / "changes.txt").read_text()
    assert re.search(r"Added:\n  nano-[0-9.]+-\S+\.amd64\n", changes)
    assert "Removed" not in changes
    page = (second / "index.html").read_text()
    assert "nano-" in page
    # trends: two releases in each chart
    assert {each.compose_id for each in (old, new)} <= set(re.findall(r"Debian-Atomic-12-\d+\.0(?=: )", page))

    # hosts of the first have been upgraded to it, and back
    cells = json.loads((second / "verdict.json").read_text())
    assert {cell["state"] for cell in cells if cell["criterion"] == UPGRADE} == {"passed"}
    assert {cell["criterion"] for cell in cells} == set(names())

    shown = browser.new_page(viewport={"width": 360, "height": 800})
    complaints: list[str] = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.goto((second / "index.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    assert complaints == []
    if place := os.environ.get("IMAGEBUILD_SCREENSHOTS"):
        shown.set_viewport_size({"width": 1280, "height": 900})
        shown.screenshot(path=Path(place) / "second-release.png", full_page=True)

    with web.serving(web.directories({"/": [output]})) as port:
        where = f"http://127.0.0.1:{port}/{second.name}"
        found = json.loads(
            imagebuild("verify", where, "--key", store / "compose" / "signing-key.asc", "--json")
        )
    assert found["problems"] == []
    assert list(found["images"].values()) == [[new.tree.commit]]

    imagebuild("promote", second, "--config", configuration, "--store", store)
    stable = Repo(store / "stable-repo")
    assert stable.refs()[REF] == new.tree.commit
    assert not stable.make_delta(old.tree.commit, new.tree.commit), "hosts of the first release have a delta"
    latest = json.loads((store / "mirror" / "latest.json").read_text())
    assert latest["refs"] == {REF: second.name}
