"""Pruning: first it is said what would go; what was promoted, what is new and what a kept release needs
stays.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuild.engine.directory import DirectoryStore
from imagebuild.publish import facts
from imagebuild.publish.numbers import at_work
from imagebuild.publish.prune import superseded
from imagebuild.tools.ostree.repository import Repo
from tests.publish.releasing import first_and_second, go, mark_bad
from tests.release_lab import FIRST, REF, SECOND, Line

PROGRAM = Path(sys.executable).parent / "imagebuild"


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    made = Line(tmp_path / "line", homedir)
    made.changes["publish"] = {
        "destination": f"file://{tmp_path}/mirror",
        "keep": {"nightlies": 2, "builds": 1, "commits": 1},
    }
    return made


def run(line: Line, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            PROGRAM,
            "prune",
            "--config",
            line.work / "config.yaml",
            "--store",
            line.place,
            "--output",
            line.output,
            *more,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_nightlies_go_and_what_was_promoted_stays(line: Line, tmp_path: Path) -> None:
    trees = [
        line.commit(f"12.{number}", FIRST if number % 2 else SECOND, {"usr/share/n": bytes([number]) * 5000})
        for number in range(1, 7)
    ]
    for number, tree in enumerate(trees):
        line.release(line.material(tree), day=f"2026110{number + 1}", nightly=number < 4)
    (line.output / ".Debian-Atomic-12-20261109.0.partial").mkdir()
    mirror = tmp_path / "mirror"
    (mirror / "Debian-Atomic-12-20261106.0" / "metadata").mkdir(parents=True)
    (mirror / "releases.json").write_text('["Debian-Atomic-12-20261106.0"]')
    (mirror / "Debian-Atomic-12-20261106.0" / facts.FILE).write_bytes(
        (line.output / "Debian-Atomic-12-20261106.0" / facts.FILE).read_bytes()
    )
    manifest = "Debian-Atomic-12-20261106.0/Debian-Atomic-12-20261106.0-x86_64-CHECKSUM"
    (mirror / manifest).write_bytes((line.output / manifest).read_bytes())
    line.config  # noqa: B018  # writes the configuration
    refs = Repo(line.repo.path).refs()
    before = {place.name for place in line.output.iterdir()}
    said = run(line)
    assert said.returncode == 0, said.stderr
    assert "would go" in said.stdout
    assert {place.name for place in line.output.iterdir()} - {".lock"} == before
    assert Repo(line.repo.path).refs() == refs, "asking changes nothing"
    commits = [tree.commit for tree in trees]
    assert all(Repo(line.repo.path).has(commit) for commit in commits)
    done = run(line, "--yes")
    assert done.returncode == 0, done.stderr
    left = sorted(
        place.name for place in line.output.iterdir() if place.is_dir() and not place.name.startswith(".")
    )
    assert left == ["Debian-12-20261103.n.0", "Debian-12-20261104.n.0", "Debian-Atomic-12-20261106.0"]
    assert not list(line.output.glob(".*.partial"))
    assert objects_of(said.stdout) == objects_of(done.stdout), "what is said is what is done"
    kept = {name for name in Repo(line.repo.path).refs() if name.startswith("imagebuild/")}
    assert kept == {
        f"imagebuild/released/{REF}/{prefix}{name}" for name in left for prefix in ("", "before-")
    }
    # of what is kept, and what that was compared with
    assert [Repo(line.repo.path).has(commit) for commit in commits] == [False, True, True, True, True, True]
    Repo(line.repo.path).fsck(commits[5])
    assert "Debian-Atomic-12-20261105.0" not in (line.output / "index.html").read_text()


def objects_of(text: str) -> int:
    found = re.search(r"(\d+) objects", text)
    assert found is not None
    return int(found[1])


def test_what_went_out_stays_also_when_it_was_called_back(line: Line, tmp_path: Path) -> None:
    line.changes["publish"] |= {"repo": f"file://{tmp_path}/stable"}
    line.changes["tree"] = {
        "url": f"file://{line.place}/repo",
        "gpg_keys": [str(line.key)],
        "osname": "o",
        "remote": "r",
        "update_url": "https://example.org",
        "update_gpg_key": "/k",
    }
    first, second = first_and_second(line)
    third = line.release(line.material(line.commit("12.3", FIRST)), day="20261127")
    go(line, first)
    go(line, second)
    mark_bad(line, first, "x")
    go(line, third)
    assert run(line, "--yes").returncode == 0
    assert all(place.is_dir() for place in (first, second, third))


def test_a_directory_that_is_not_there(line: Line) -> None:
    line.config  # noqa: B018  # writes the configuration
    said = run(line, "--yes")
    assert said.returncode == 2
    assert "there is no directory of releases" in said.stderr
    assert not line.output.exists()


def test_another_directorys_releases_keep_their_commits(line: Line, tmp_path: Path) -> None:
    """Two directories of releases, one store: what is not in one may be in the other."""
    tree = line.commit("12.1", FIRST)
    place = line.release(line.material(tree))
    assert run(line, "--yes").returncode == 0
    kept = {name for name in Repo(line.repo.path).refs() if name.startswith("imagebuild/")}
    assert kept == {f"imagebuild/released/{REF}/{place.name}"}
    line.output = tmp_path / "others"
    line.output.mkdir()
    assert run(line, "--yes").returncode == 0
    assert kept <= set(Repo(line.repo.path).refs())


def test_refs_of_other_release_lines_are_left_alone(line: Line) -> None:
    tree = line.commit("12.1", FIRST)
    line.release(line.material(tree))
    other = "imagebuild/released/debian/13/x86_64/atomic-host/x"
    Repo(line.repo.path).set_ref(other, tree.commit)
    (line.place / "mirror").mkdir()
    line.config  # noqa: B018  # writes the configuration
    assert run(line, "--yes").returncode == 0
    assert other in Repo(line.repo.path).refs()


def test_a_release_that_is_being_made_is_not_taken_for_a_leftover(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)))
    partial = line.output / ".Debian-Atomic-12-20261127.0.partial"
    partial.mkdir()
    with at_work(line.output):
        said = run(line, "--yes")
    assert said.returncode == 1
    assert "another imagebuild is at work" in said.stderr
    assert partial.is_dir()


def test_while_a_build_is_at_work_nothing_is_done(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)))
    with DirectoryStore(line.place).lock("disk.install_disk", "k"):
        said = run(line, "--yes")
    assert said.returncode == 1
    assert "a build is at work" in said.stderr


def test_a_remote_store_is_cleaned_with_the_rest(line: Line, tmp_path: Path) -> None:
    line.release(line.material(line.commit("12.1", FIRST)))
    (tmp_path / "share").mkdir()
    url = f"file://{tmp_path}/share"
    said = run(line, "--store-remote", url)
    assert f"would go: artifacts of {url} that no build of the last 7 days has used" in said.stdout
    said = run(line, "--store-remote", url, "--yes")
    assert said.returncode == 0, said.stderr
    assert f"removed: 0 artifacts of {url}" in said.stdout
    assert "artifacts of file://" not in run(line).stdout


def test_what_is_superseded(line: Line) -> None:
    made = facts.read(line.release(line.material(line.commit("12.1", FIRST))))
    rows = [
        made.model_copy(update={"compose_id": name, "nightly": name.startswith("n")})
        for name in ("n1", "a", "n2", "b", "c")
    ]
    assert [each.facts.compose_id for each in superseded(rows, ["b"], [], 1)] == ["n1", "a"]
    assert [each.facts.compose_id for each in superseded(rows, [], [], 0)] == ["n1", "n2"]
    assert superseded(rows, ["n1", "a", "b"], [], 1) == []
    # one whose promotion only began has superseded nothing, and stays
    assert [each.facts.compose_id for each in superseded(rows, [], ["b"], 1)] == ["n1"]
    assert [each.facts.compose_id for each in superseded(rows, ["c"], ["b"], 2)] == ["a"]
    assert REF in json.dumps(made.ref)
