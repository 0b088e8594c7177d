"""A pulled commit travels with its artifact: who fetches it needs no way to where it came from."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from imagebuild.engine.remote import Patience
from imagebuild.engine.shared import SharedStore
from imagebuild.engine.steps import Step, Unkeyed, key_of, kind_of, step
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError
from imagebuild.model import Tree
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import Pin, pull_commit, pull_tree
from imagebuild.tools import command
from imagebuild.tools.ostree.repository import Repo
from imagebuild.wiring.stores import open_store
from tests.engine.building import run
from tests.tools.ostree.commits import FILES, REF, Source, make_commit
from tests.tools.settings import settings


@pytest.fixture
def remote(tmp_path: Path) -> str:
    (tmp_path / "share").mkdir()
    return f"file://{tmp_path}/share"


def machine(place: Path, remote: str) -> Store:
    return open_store(place, remote, patience=Patience(attempts=1))


def pulled(source: Source, store: Path) -> Step[Tree]:
    config = settings(source.url, allow_unsigned=False, gpg_keys=(str(source.key),))
    arch: Unkeyed[str | None] = Unkeyed(None)
    pinned = Pin(ref=REF, commit=source.commit)
    return step("pull", pull_tree, pinned, config, Unkeyed(store / "repo"), arch)


def needed(store: Store, one: Step[Any]) -> Tree:
    record = store.need(kind_of(one), key_of(one))
    return TypeAdapter(Tree).validate_python(record.value, context={"base": record.directory})


def test_a_worker_with_an_empty_store_needs_no_way_to_the_origin(
    tmp_path: Path, source: Source, remote: str
) -> None:
    one, wanted = machine(tmp_path / "one", remote), pulled(source, tmp_path / "one")
    here = run(wanted, one).value(wanted)
    assert here.repo == tmp_path / "one" / "repo"
    # the origin is gone, and so is the first machine
    (tmp_path / "source").rename(tmp_path / "gone")
    shutil.rmtree(tmp_path / "one")
    two = machine(tmp_path / "two", remote)
    again = pulled(source, tmp_path / "two")
    assert key_of(again) == key_of(wanted)
    tree = needed(two, again)
    repo = Repo(tmp_path / "two" / "repo")
    assert tree.repo == repo.path
    assert repo.fsck(source.commit) > len(FILES)
    assert repo.refs() == {REF: source.commit}
    assert repo.has(source.commit)
    assert repo.detached_metadata(source.commit) is not None, "its signatures come, too"
    # and it is used as one that was pulled
    boxed = step("toolbox", make_toolbox, again)
    outcome = run(boxed, two)
    assert not outcome.failed
    assert outcome.value(boxed).image.stat().st_size == outcome.value(boxed).size


def test_a_local_build_copies_nothing(tmp_path: Path, source: Source) -> None:
    one, wanted = open_store(tmp_path / "one"), pulled(source, tmp_path / "one")
    run(wanted, one)
    record = one.need(kind_of(wanted), key_of(wanted))
    assert [file.name for file in (record.directory / "out").rglob("*")] == ["os-release"]
    assert json.loads((record.directory / "artifact.json").read_text())["value"]["repo"] == {"store": "repo"}


def test_commits_between_come_as_what_they_are(tmp_path: Path, source: Source, remote: str) -> None:
    between = tuple(
        make_commit(source.repo, tmp_path / "work", FILES | {"usr/new": version.encode()}, version)
        for version in ("1.2", "1.3")
    )
    config = settings(source.url)

    def before(store: Path) -> Step[Tree]:
        pinned = Pin(ref=REF, commit=source.commit)
        return step("previous", pull_commit, pinned, config, Unkeyed(store / "repo"), between)

    one, two = machine(tmp_path / "one", remote), machine(tmp_path / "two", remote)
    assert not run(before(tmp_path / "one"), one).failed
    needed(two, before(tmp_path / "two"))
    repo = Repo(tmp_path / "two" / "repo")
    assert repo.has(source.commit)
    for commit in between:
        assert repo.has_commit_object(commit)
        assert not repo.has(commit), "its tree is not here"
    assert not repo.refs(), "a release before moves no ref"
    # what was only a commit object can be pulled whole later
    command.run(["ostree", f"--repo={repo.path}", "pull-local", str(source.repo.path), between[0]])
    assert repo.has(between[0])


def test_a_commit_that_was_pruned_is_fetched_again(tmp_path: Path, source: Source, remote: str) -> None:
    one, wanted = machine(tmp_path / "one", remote), pulled(source, tmp_path / "one")
    run(wanted, one)
    shutil.rmtree(tmp_path / "one" / "repo")
    assert Repo(needed(one, wanted).repo).fsck(source.commit)


def test_objects_that_are_there_are_not_replaced(tmp_path: Path, source: Source, remote: str) -> None:
    one, wanted = machine(tmp_path / "one", remote), pulled(source, tmp_path / "one")
    run(wanted, one)
    other = make_commit(source.repo, tmp_path / "work", FILES | {"usr/new": b"new"}, "1.2")
    repo = Repo.ensure(tmp_path / "two" / "repo")
    repo.pull_local(source.repo, other)
    before = {file: file.stat().st_ino for file in (repo.path / "objects").rglob("*") if file.is_file()}
    needed(machine(tmp_path / "two", remote), wanted)
    assert {file: file.stat().st_ino for file in before} == before
    assert repo.fsck(source.commit)
    assert repo.fsck(other)


def test_what_is_no_object_is_refused(tmp_path: Path, source: Source, remote: str) -> None:
    one, wanted = machine(tmp_path / "one", remote), pulled(source, tmp_path / "one")
    run(wanted, one)
    assert isinstance(one, SharedStore)
    two = machine(tmp_path / "two", remote)
    assert isinstance(two, SharedStore)
    # the names in a pack are the carrier's to judge
    carrier = two._carriers["tree.pull_tree"]
    assert carrier.expects("ab/" + "c" * 62 + ".filez", 3)
    for name in ("../config", "config", "ab/" + "c" * 62, "ab/" + "c" * 62 + ".sh", "ab/../" + "c" * 62):
        assert not carrier.expects(name, 3)


def test_a_commit_that_did_not_come_whole_is_not_taken_for_one(
    tmp_path: Path, source: Source, remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, wanted = machine(tmp_path / "one", remote), pulled(source, tmp_path / "one")
    carrier = one._carriers["tree.pull_tree"]  # type: ignore[attr-defined]  # a shared one
    real = type(carrier).sources

    def fewer(self: Any, root: Path, record: Any) -> dict[str, Path]:
        found = dict(real(self, root, record))
        found.pop(next(name for name in found if name.endswith(".filez")))
        return found

    monkeypatch.setattr(type(carrier), "sources", fewer)
    run(wanted, one)
    two = machine(tmp_path / "two", remote)
    with pytest.raises(BuildError, match=rf"commit {source.commit} did not come whole: "):
        needed(two, wanted)
    assert not list((tmp_path / "two" / "artifacts").glob("*/*"))
    assert not Repo(tmp_path / "two" / "repo").has(source.commit)


def test_commits_between_that_are_lost_for_good_are_not_fetched_again(
    tmp_path: Path, source: Source, remote: str
) -> None:
    """Nobody has one of them: what came is all that there is."""
    lost = "0" * 64
    config = settings(source.url)

    def before(store: Path) -> Step[Tree]:
        pinned = Pin(ref=REF, commit=source.commit)
        return step("previous", pull_commit, pinned, config, Unkeyed(store / "repo"), (lost,))

    one, two = machine(tmp_path / "one", remote), machine(tmp_path / "two", remote)
    assert not run(before(tmp_path / "one"), one).failed
    wanted = before(tmp_path / "two")
    for store in (one, two):
        made = store.need(kind_of(wanted), key_of(wanted)).directory.stat().st_ino
        assert store.need(kind_of(wanted), key_of(wanted)).directory.stat().st_ino == made
