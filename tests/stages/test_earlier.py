"""Which releases hosts come from, found before anything is built; and the delta from there: real
repositories.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.stages.delta import make_delta
from imagebuild.stages.earlier import LineBefore, names_of, releases_before
from imagebuild.stages.tree import Pin
from imagebuild.tools import command
from imagebuild.tools.ostree import binding, deltas
from imagebuild.tools.ostree.repository import Repo
from tests.stages.past import Past
from tests.stages.trees import TREE
from tests.tools.ostree.commits import REF

OTHER = "debian/11/x86_64/atomic-host"


def test_the_newest_of_those_given_is_the_release_before(past: Past) -> None:
    zero, one, two, three = past.commits
    before = releases_before(past.tree, Pin(ref=REF, commit=three), given=(zero, two, one), released=zero)
    assert before.pin == Pin(ref=REF, commit=two)
    assert [older.pin.commit for older in before.others] == [one, zero]
    assert before.others[0].name == "12-1"
    # a single one, and none
    alone = releases_before(past.tree, Pin(ref=REF, commit=three), given=(one,))
    assert (alone.pin, alone.others) == (Pin(ref=REF, commit=one), ())
    parent = releases_before(past.tree, Pin(ref=REF, commit=three))
    assert (parent.pin, parent.others) == (Pin(ref=REF, commit=two), ())
    # this release itself is no way to it
    again = releases_before(past.tree, Pin(ref=REF, commit=three), given=(three, one))
    assert (again.pin, again.others) == (Pin(ref=REF, commit=one), ())


def test_one_that_is_newer_than_this_release_is_refused(past: Past) -> None:
    with pytest.raises(
        BuildError, match=r"previous: 12\.3 \(.*\) is newer than this release, 12\.2"
    ) as error:
        releases_before(past.tree, Pin(ref=REF, commit=past.commits[2]), given=past.commits[1:])
    assert "take it out of `previous`" in error.value.hint


def test_one_that_is_gone_is_refused_by_name(past: Past) -> None:
    Repo(past.place).object_path(4, past.commits[1]).unlink()
    with pytest.raises(BuildError, match=f"has no commit {past.commits[1]} \\(any more\\): no host can be"):
        releases_before(past.tree, Pin(ref=REF, commit=past.commits[3]), given=past.commits[:3])


def test_one_that_is_bound_to_another_ref_is_refused(past: Past) -> None:
    bound, _ = _bound(past, OTHER)
    with pytest.raises(BuildError, match=f"it is bound to {OTHER}") as error:
        releases_before(past.tree, Pin(ref=REF, commit=past.commits[3]), given=(bound,))
    assert "publish.previous_major" in error.value.hint


def _bound(past: Past, ref: str) -> tuple[str, Path]:
    said = command.run(
        [
            "ostree", f"--repo={past.place}", "commit", f"--tree=ref={past.commits[0]}", f"--branch={ref}",
            "--timestamp=@1600000000", "--add-metadata-string=version=11.9",
        ]
    )  # fmt: skip
    return said.strip(), past.place


def test_the_line_before_is_where_the_first_repository_has_its_ref(past: Past, tmp_path: Path) -> None:
    commit, place = _bound(past, OTHER)
    pinned = Pin(ref=REF, commit=past.commits[3])
    urls = (f"file://{tmp_path}/nowhere", f"file://{place}")
    before = releases_before(past.tree, pinned, line=LineBefore(ref=OTHER, urls=urls))
    assert before.line is not None
    assert (before.line.pin, before.line.version) == (Pin(ref=OTHER, commit=commit), "11.9")
    assert before.line.url == urls[1]
    none = releases_before(past.tree, pinned, line=LineBefore(ref="a/b", urls=urls))
    assert none.line is None
    assert f"{urls[0]} nor {urls[1]} has no ref a/b" in (none.why_no_line or "")
    assert "is configured" in (releases_before(past.tree, pinned).why_no_line or "")
    assert "publish.repo" in (
        releases_before(past.tree, pinned, line=LineBefore(ref="a/b")).why_no_line or ""
    )
    with pytest.raises(BuildError, match="this release line's own ref"):
        releases_before(past.tree, pinned, line=LineBefore(ref=REF, urls=urls))


def test_names_are_of_versions_and_never_the_same() -> None:
    assert names_of([("ab" * 32, "13.20261101.0"), ("cd" * 32, "F26~rc1")]) == ("13-20261101-0", "f26-rc1")
    twice = names_of([("ab" * 32, "12.1"), ("cd" * 32, "12.1"), ("ef" * 32, "")])
    assert twice == ("12-1-abababab", "12-1-cdcdcdcd", "efefefef")


def test_a_commit_says_when_it_was_made(past: Past) -> None:
    repo = Repo(past.place)
    data = repo.object_path(4, past.commits[2]).read_bytes()
    assert binding.commit_timestamp(data) == repo.timestamp(past.commits[2])


def test_a_delta_is_made_and_put_where_clients_find_it(past: Past, tmp_path: Path) -> None:
    zero, three = past.commits[0], past.commits[3]
    older = replace(TREE, repo=past.place, commit=zero, version="12.0")
    newer = replace(TREE, repo=past.place, commit=three, version="12.3")
    out = tmp_path / "out"
    out.mkdir()
    made = make_delta(out, newer, older)
    assert (made.base, made.commit) == (zero, three)
    assert made.size == sum(path.stat().st_size for path in made.place.rglob("*") if path.is_file()) > 0
    assert (made.place / deltas.place_of(zero, three) / "superblock").is_file()
    assert [path.name for path in out.iterdir()] == ["deltas"]
    assert not (past.place / "deltas").exists() or not Repo(past.place).deltas()
    repo = Repo.ensure(tmp_path / "stable")
    for _ in range(2):
        deltas.put(repo, made.place)
    assert repo.deltas() == {(zero, three)}
    other = Repo.ensure(tmp_path / "other")
    deltas.put_one(other, repo, zero, three)
    assert other.deltas() == {(zero, three)}
