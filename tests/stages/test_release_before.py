"""The release before a candidate, and the commits between the two."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.publish import stable as stable_repository
from imagebuild.stages.tree import Pin, pull_commit, release_before
from imagebuild.tools import gpg
from imagebuild.tools.ostree import history, succession
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import REF


def config_of(repo: Path) -> TreeConfig:
    return TreeConfig(
        url=f"file://{repo}",
        allow_unsigned=True,
        osname="o",
        remote="r",
        update_url="https://example.org/x",
        update_gpg_key="/usr/x",
    )


def test_the_release_before_is_given_or_released_or_the_parent(candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    pinned = Pin(ref=REF, commit=commit)
    found = release_before(config_of(repo), pinned)
    assert found.pin is not None
    assert found.pin.commit == parent
    assert parent is not None
    for given, released in ((parent, None), (None, parent), (commit, parent)):
        again = release_before(config_of(repo), pinned, given=given, released=released)
        assert again.pin == found.pin
    first = release_before(config_of(repo), Pin(ref=REF, commit=parent))
    assert (first.pin, first.first) == (None, True)
    assert "has no parent" in (first.why_not or "")


def test_a_release_that_is_not_there_any_more_is_no_first_release(candidate: tuple[Path, str]) -> None:
    repo, commit = candidate
    parent = Repo(repo).parent(commit)
    assert parent is not None
    Repo(repo).object_path(4, parent).unlink()
    found = release_before(config_of(repo), Pin(ref=REF, commit=commit))
    assert (found.pin, found.first) == (None, False)
    assert f"has no commit {parent}" in (found.why_not or "")
    with pytest.raises(BuildError, match="no usable commit object"):
        release_before(config_of(repo), Pin(ref=REF, commit=parent))


def test_the_commits_between_two_releases_come_along(tmp_path: Path, candidate: tuple[Path, str]) -> None:
    """Nightlies between two releases: nothing of their trees is pulled, but hosts of the test, and of the
    release, walk over them.
    """
    repo, middle = candidate
    previous = Repo(repo).parent(middle)
    latest, _ = succession.relative(Repo(repo), middle, version="1.3", parent=middle, timestamp=1_700_000_300)
    assert previous is not None
    found = release_before(config_of(repo), Pin(ref=REF, commit=latest), given=previous)
    assert (found.pin, found.between, found.lost) == (Pin(ref=REF, commit=previous), (middle,), None)
    store = Repo.ensure(tmp_path / "store")
    source = Remote(url=f"file://{repo}", keys=(), verify=False)
    store.pull(source, latest)
    pull_commit(tmp_path, Pin(ref=REF, commit=previous), config_of(repo), store.path, found.between)
    assert store.has(previous)
    assert (store.has_commit_object(middle), store.has(middle)) == (True, False)
    assert history.lost(store, latest, previous) is None
    # and the stable repository, from there
    stable = Repo.ensure(tmp_path / "stable")
    stable.pull(source, latest)
    stable.pull(source, previous)
    assert (history.lost(stable, latest, previous) or "").endswith(f"{middle} is not in the repository")
    wanted: Any = SimpleNamespace(source=store.path)
    for _ in range(2):
        stable_repository._bring_history(stable, wanted, latest, previous)
        assert history.lost(stable, latest, previous) is None
    subprocess.run(["ostree", f"--repo={stable.path}", "fsck", "--quiet"], check=True)
    # what was only passed over can be had whole later
    store.pull(source, middle)
    assert store.has(middle)


def test_a_release_that_is_not_in_the_history_is_said_at_the_plan(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    repo, commit = candidate
    orphan, _ = succession.relative(Repo(repo), commit, version="1.3", parent=None, timestamp=1_700_000_300)
    found = release_before(config_of(repo), Pin(ref=REF, commit=orphan), given=commit)
    assert found.pin == Pin(ref=REF, commit=commit)
    assert (found.between, found.lost) == (
        (),
        f"the history of {orphan} does not lead to {commit}, the release before: {orphan} has no parent",
    )
    previous = Repo(repo).parent(commit)
    assert previous is not None
    latest, _ = succession.relative(Repo(repo), commit, version="1.4", parent=commit, timestamp=1_700_000_400)
    Repo(repo).object_path(4, commit).unlink()
    gone = release_before(config_of(repo), Pin(ref=REF, commit=latest), given=previous)
    assert (gone.lost or "").endswith(f"{commit} is not in the repository")


def test_a_commit_between_that_nobody_signed_holds_nothing_up(
    tmp_path: Path, candidate: tuple[Path, str]
) -> None:
    """Hosts that check signatures cannot walk over it: a criterion says so, and everything else is tested."""
    repo, middle = candidate
    previous = Repo(repo).parent(middle)
    latest, _ = succession.relative(Repo(repo), middle, version="1.3", parent=middle, timestamp=1_700_000_300)
    assert previous is not None
    with gpg.keyring(tmp_path / "gnupg") as homedir:
        key = gpg.ensure_key(homedir, "release <release@localhost>")
        gpg.export_key(homedir, key, tmp_path / "key.asc")
        for commit in (previous, latest):
            Repo(repo).sign(commit, key, homedir)
    checked = config_of(repo).model_copy(
        update={"allow_unsigned": False, "gpg_keys": [str(tmp_path / "key.asc")]}
    )
    store = Repo.ensure(tmp_path / "store")
    store.pull(Remote(url=f"file://{repo}", keys=(tmp_path / "key.asc",), verify=True), latest)
    pull_commit(tmp_path, Pin(ref=REF, commit=previous), checked, store.path, (middle,))
    assert store.has(previous)
    assert (history.lost(store, latest, previous) or "").endswith(f"{middle} is not in the repository")
