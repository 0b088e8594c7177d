"""A ref that went back: refused, unless somebody says that it is meant. Real repositories."""

import shutil
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.stages.downgrade import newer_than, seen
from imagebuild.stages.tree import Pin
from imagebuild.tools import command
from imagebuild.tools.ostree.repository import Repo
from tests.stages.past import Past
from tests.tools.ostree.commits import REF


@pytest.fixture
def own(past: Past, tmp_path: Path) -> Path:
    """The pipeline's own repository, which has pulled the third of four releases."""
    repo = Repo.ensure(tmp_path / "own")
    command.run(["ostree", "pull-local", f"--repo={repo.path}", past.place, past.commits[2]])
    repo.set_ref(REF, past.commits[2])
    return repo.path


def pinned(past: Past, number: int) -> Pin:
    return Pin(ref=REF, commit=past.commits[number])


def test_an_old_ref_that_is_replayed_is_refused(past: Past, own: Path) -> None:
    with pytest.raises(BuildError) as caught:
        newer_than(past.tree, pinned(past, 1), seen(own, REF, None), print)
    assert caught.value.message.startswith(
        f"{REF} of file://{past.place} is the commit {past.commits[1]} of "
    )
    assert f"which is older than {past.commits[2]} of " in caught.value.message
    assert "which was pulled before: somebody may have replayed an old summary" in caught.value.message
    assert "tree.allow_downgrade: true" in caught.value.hint


def test_what_was_released_counts_in_an_empty_store_too(past: Past, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="which was released before"):
        newer_than(past.tree, pinned(past, 1), seen(tmp_path / "own", REF, past.commits[3]), print)


@pytest.mark.parametrize("number", [2, 3])
def test_the_same_and_a_newer_one_go_on(past: Past, own: Path, number: int) -> None:
    assert newer_than(past.tree, pinned(past, number), seen(own, REF, past.commits[1]), print) == set()


def test_one_that_is_meant_is_said(past: Past, own: Path) -> None:
    said = list[str]()
    tree = past.tree.model_copy(update={"allow_downgrade": True})
    newer = newer_than(tree, pinned(past, 0), seen(own, REF, past.commits[1]), said.append)
    assert newer == {past.commits[1], past.commits[2]}
    assert len(said) == 2
    assert all(line.endswith("(tree.allow_downgrade)") for line in said)


def test_the_commit_may_be_gone_from_the_server_only(past: Past, own: Path) -> None:
    """A server that was set back as a whole: what was pulled is still known here."""
    Repo(past.place).object_path(4, past.commits[2]).unlink()
    with pytest.raises(BuildError, match="older than"):
        newer_than(past.tree, pinned(past, 1), seen(own, REF, None), print)


def test_what_nobody_has_any_more_is_not_held_against_it(past: Past, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "own", ignore_errors=True)
    known = seen(tmp_path / "own", REF, "f" * 64)
    assert newer_than(past.tree, pinned(past, 0), known, print) == set()
