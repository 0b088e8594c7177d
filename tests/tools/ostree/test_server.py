"""Servers as they are: what is not there is 403 at object stores, summaries and refs disagree, pages stand in
for files. Beside real libostree.
"""

import subprocess
from pathlib import Path

import pytest

from imagebuild.errors import BuildError, UsageError
from imagebuild.stages import tree as stage
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.origin_lab import serving
from tests.tools.ostree.commits import FILES, QUICK, REF, make_commit
from tests.tools.settings import settings

HEADS = f"/refs/heads/{REF}"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Two commits of one ref; the summary knows the second one."""
    (tmp_path / "tar").mkdir()
    made = Repo.ensure(tmp_path / "source")
    make_commit(made, tmp_path / "tar", FILES)
    make_commit(made, tmp_path / "tar", FILES | {"usr/new": b"new"}, "1.2")
    made.update_summary()
    return made


def newer(repo: Repo, tmp_path: Path) -> str:
    return make_commit(repo, tmp_path / "tar", FILES | {"usr/newer": b"newer"}, "1.3")


def as_a_host(url: str, tmp_path: Path, ref: str = REF) -> str:
    """Return what the real ostree(1) makes of a ref: its commit, or what it complains of."""
    place = tmp_path / "host"
    run = ["ostree", f"--repo={place}"]
    subprocess.run([*run, "init", "--mode=bare-user"], check=True, capture_output=True)
    subprocess.run(
        [*run, "remote", "add", "--force", "--no-gpg-verify", "o", url], check=True, capture_output=True
    )
    pulled = subprocess.run(
        [*run, "pull", "--commit-metadata-only", "o", ref], check=False, capture_output=True, text=True
    )
    if pulled.returncode:
        return pulled.stderr
    return subprocess.run(
        [*run, "rev-parse", f"o:{ref}"], check=True, capture_output=True, text=True
    ).stdout.strip()


def resolved(url: str, ref: str = REF) -> tuple[str, str]:
    said: list[str] = []
    return ostree_server.resolve(url, ref, patience=QUICK, say=said.append), "\n".join(said)


# --- what is not there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [403, 404, 410])
def test_a_pruned_parent_is_not_there_however_the_server_says_so(
    repo: Repo, tmp_path: Path, missing: int
) -> None:
    parent = repo.parent(repo.refs()[REF])
    assert parent is not None
    repo.object_path(4, parent).unlink()
    (repo.path / "summary").unlink()
    with serving(repo.path, missing=missing) as url:
        source = settings(url)
        pinned = stage.pin(source, REF)
        before = stage.release_before(source, pinned)
        assert (before.pin, before.first) == (None, False)
        assert f"has no commit {parent}" in (before.why_not or "")
        (tmp_path / "out").mkdir()
        assert stage.pull_tree(tmp_path / "out", pinned, source, tmp_path / "store").version == "1.2"


@pytest.mark.parametrize("missing", [403, 404])
def test_a_missing_object_is_named(repo: Repo, tmp_path: Path, missing: int) -> None:
    commit = repo.refs()[REF]
    entry = next(entry for entry in repo.walk(commit) if entry.path.name == "large")
    repo.object_path(1, entry.checksum).unlink()
    with (
        serving(repo.path, missing=missing) as url,
        pytest.raises(BuildError, match=f"{entry.checksum}.* not there") as caught,
    ):
        Repo.ensure(tmp_path / "store").pull(Remote(url=url, keys=(), verify=False), commit, patience=QUICK)
    assert str(missing) in caught.value.message


@pytest.mark.parametrize(
    ("refused", "complaint"),
    [(403, "may not be read: HTTP 403"), (401, "refuses .*HTTP 401"), (404, "there is no OSTree repository")],
)
def test_a_server_that_gives_nothing_is_no_matter_of_the_ref(
    repo: Repo, refused: int, complaint: str
) -> None:
    with serving(repo.path, refused=refused) as url, pytest.raises(BuildError, match=complaint) as caught:
        resolved(url)
    assert not isinstance(caught.value, UsageError)
    assert "tree.url" in caught.value.hint


@pytest.mark.parametrize("missing", [403, 404])
def test_an_unknown_ref_is_one_also_at_an_object_store(repo: Repo, missing: int) -> None:
    with (
        serving(repo.path, missing=missing) as url,
        pytest.raises(UsageError, match="no ref test/1/x86_64/hots") as caught,
    ):
        resolved(url, "test/1/x86_64/hots")
    assert REF in caught.value.hint


# --- the summary --------------------------------------------------------------------------------------------


def test_a_ref_that_only_the_summary_names_is_found(repo: Repo, tmp_path: Path) -> None:
    for missing in (403, 404):
        with serving(repo.path, missing=missing, hidden=("/refs/",)) as url:
            assert resolved(url) == (repo.refs()[REF], "")
            assert as_a_host(url, tmp_path) == repo.refs()[REF]


def test_a_repository_without_a_summary_is_read_by_its_refs(repo: Repo, tmp_path: Path) -> None:
    (repo.path / "summary").unlink()
    for missing in (403, 404):
        with serving(repo.path, missing=missing) as url:
            assert resolved(url) == (repo.refs()[REF], "")
            assert as_a_host(url, tmp_path) == repo.refs()[REF]


def test_of_two_answers_that_of_the_summary_is_taken_as_hosts_do(repo: Repo, tmp_path: Path) -> None:
    told = repo.refs()[REF]
    head = newer(repo, tmp_path)
    with serving(repo.path) as url:
        commit, said = resolved(url)
        assert commit == told == as_a_host(url, tmp_path)
    for words in (f"{told} in the summary", f"{head} in refs/heads", f"{told} is taken"):
        assert words in said


def test_of_a_repository_of_this_machine_the_ref_is_taken_and_said(repo: Repo, tmp_path: Path) -> None:
    told = repo.refs()[REF]
    head = newer(repo, tmp_path)
    commit, said = resolved(f"file://{repo.path}")
    assert commit == head
    for words in (
        f"{told} in the summary",
        f"{head} in refs/heads",
        f"{head} is taken",
        "hosts would take the summary's",
    ):
        assert words in said
    # which is true
    assert as_a_host(f"file://{repo.path}", tmp_path) == told


def test_a_ref_that_the_summary_does_not_name_is_taken_and_said(repo: Repo, tmp_path: Path) -> None:
    repo.set_ref("test/1/x86_64/fresh", repo.refs()[REF])
    with serving(repo.path) as url:
        commit, said = resolved(url, "test/1/x86_64/fresh")
        assert commit == repo.refs()[REF]
        assert "the summary does not name it: hosts would not find it" in said
        assert "No such branch" in as_a_host(url, tmp_path, "test/1/x86_64/fresh")


def test_a_broken_summary_is_said_where_libostree_refuses_it(repo: Repo, tmp_path: Path) -> None:
    (repo.path / "summary").write_text("<!doctype html><title>welcome</title>")
    with serving(repo.path) as url:
        with pytest.raises(BuildError, match="/summary is not a summary of an OSTree repository"):
            resolved(url)
        assert "Not normal form" in as_a_host(url, tmp_path)


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "file"])
def test_the_name_that_was_asked_for_is_never_a_near_one(repo: Repo, kind: str) -> None:
    repo.set_ref("test/1/x86_64/hosts", repo.refs()[REF])
    repo.update_summary()
    # a ref file that is cut short, as after a full disk, and a summary that lost it
    repo.set_ref(REF, None)
    repo.update_summary()
    (repo.path / "refs" / "heads" / REF).write_text("abc\n")
    with serving(repo.path) as served, pytest.raises(BuildError, match=f"no ref {REF} in") as caught:
        resolved(served if kind == "http" else f"file://{repo.path}")
    near = caught.value.hint.removeprefix("similar names there: ").split(", ")
    assert near == ["test/1/x86_64/hosts"]


def test_a_directory_of_refs_is_no_ref(repo: Repo) -> None:
    # some servers list directories
    with serving(repo.path) as url, pytest.raises(UsageError, match="no ref test/1/x86_64 in") as caught:
        resolved(url, "test/1/x86_64")
    assert REF in caught.value.hint


def test_a_page_for_everything_is_no_repository(repo: Repo) -> None:
    with (
        serving(repo.path, page=b"<!doctype html><title>log in first</title>") as url,
        pytest.raises(BuildError, match="not a summary of an OSTree repository") as caught,
    ):
        resolved(url)
    assert "tree.url" in caught.value.hint


# --- patience -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "again"), [(503, True), (429, True), (408, True), (400, False), (401, False), (451, False)]
)
def test_only_what_may_change_is_asked_again(repo: Repo, status: int, again: bool) -> None:
    asked: list[str] = []
    with serving(repo.path, first=status, asked=asked) as url:
        if again:
            assert resolved(url)[0] == repo.refs()[REF]
        else:
            with pytest.raises(BuildError, match=f"refuses .*: HTTP {status}"):
                resolved(url)
            assert len(asked) == 1


def test_what_is_too_large_is_not_read_to_its_end(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ostree_server, "LARGEST", 100)
    (repo.path / "summary").write_bytes(bytes(1000))
    with serving(repo.path) as url, pytest.raises(BuildError, match="larger than 100 bytes"):
        resolved(url)


def test_a_damaged_commit_is_said(repo: Repo) -> None:
    commit = repo.refs()[REF]
    file = repo.object_path(4, commit)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.unlink()
    file.write_bytes(data)
    with (
        serving(repo.path) as url,
        pytest.raises(BuildError, match=f"the commit object {commit} of .* is damaged"),
    ):
        ostree_server.commit_object(url, commit, patience=QUICK)
