"""Releases that are marked bad: nothing calls them the latest, and none goes out under another name."""

import json
import shutil
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.publish import facts
from imagebuild.publish.promote import promote, promoted
from imagebuild.publish.stable import last_commit
from imagebuild.session.releases import signer_of
from imagebuild.tools.ostree.repository import Repo
from tests.publish.releasing import first_and_second, go, mark_bad, refused, wanted
from tests.release_lab import FIRST, REF, Line


def test_before_anything_was_promoted_what_is_bad_does_not_count(line: Line) -> None:
    first, second = first_and_second(line)
    mark_bad(line, second, "x")
    assert last_commit(line.config, line.output, REF, but="f" * 64) == facts.read(first).tree.commit
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] == first.name
    mark_bad(line, first, "x")
    assert last_commit(line.config, line.output, REF, but="f" * 64) is None
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] is None
    # nothing was ever published: an empty list is one
    assert wanted(line, first).pointers.listed() == []


def test_what_is_marked_bad_is_not_promoted_under_any_name(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    mark_bad(line, second, "eats  data")
    assert "reason: eats data" in (tmp_path / "mirror" / "bad" / f"{second.name}.asc").read_text()
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name
    assert second.name not in (tmp_path / "mirror" / "index.html").read_text()
    assert json.loads((line.output / "latest.json").read_text())["compose_id"] == first.name
    assert refused(line, second) == f"{second.name} is marked bad: eats data"
    # the same commit again, under another number
    third = line.release(line.material(line.trees[1], grown=1))
    assert "is marked bad" in refused(line, third)
    shutil.rmtree(line.output / "bad")
    assert "is marked bad" in refused(line, third)
    # a mark that nobody signed holds it too
    for file in (tmp_path / "mirror" / "bad").iterdir():
        file.write_text("reason: none of your business\n")
    assert (
        refused(line, third) == f"{third.name} is marked bad: none of your business (the mark is not signed)"
    )


def test_what_is_damaged_can_be_called_back(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    (tmp_path / "mirror" / second.name / facts.FILE).unlink()
    mark_bad(line, second, "damaged")
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name


def test_called_back_while_it_goes_out(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    asked = wanted(line, second)

    def step(name: str) -> None:
        if name.startswith("pull"):
            mark_bad(line, second, "too late")

    with signer_of(asked.config) as signer, pytest.raises(BuildError, match="is marked bad: too late"):
        promote(asked, signer, step=step)
    assert Repo(tmp_path / "stable").refs()[REF] == line.trees[0].commit
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name
    assert promoted(line.output) == {first.name: True, second.name: False}


def test_a_demotion_that_was_killed_after_its_mark_is_finished_by_whoever_comes_next(
    line: Line, tmp_path: Path
) -> None:
    first, second = first_and_second(line)
    go(line, first)
    go(line, second)
    third = line.release(line.material(line.commit("12.3", FIRST)), day="20261127")
    (tmp_path / "mirror" / "bad").mkdir()
    (tmp_path / "mirror" / "bad" / f"{line.trees[1].commit}.asc").write_text("reason: x\n")
    go(line, third)
    assert json.loads((tmp_path / "mirror" / "releases.json").read_text()) == [first.name, third.name]


def test_two_releases_of_one_bad_commit(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    again = line.release(line.material(line.trees[1]), day="20261127")
    for place in (first, second, again):
        go(line, place)
    mark_bad(line, second, "x")
    assert json.loads((tmp_path / "mirror" / "releases.json").read_text()) == [first.name]
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["compose_id"] == first.name
