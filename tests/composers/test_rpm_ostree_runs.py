"""Runs of the rpm-ostree composer that ended too early, and the repositories that they left."""

from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.signatures import signatures
from tests.composers.lab import REF, Lab, only, verified

# --- runs that ended too early ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lab", "package"),
    [
        pytest.param("2016.13", "bash", id="2016.13, nothing new"),
        pytest.param("2018.7", "bash", id="2018.7, nothing new"),
        pytest.param("2018.7", "vim", id="2018.7, something new"),
        pytest.param("2026.2", "vim", id="2026.2, something new"),
    ],
    indirect=["lab"],
)
def test_what_a_killed_run_left_unsigned_is_signed_by_the_next(lab: Lab, package: str) -> None:
    first = lab.compose()
    lab.treefile(packages=["bash", "lost"])
    lab.killed()
    if package == "vim":
        lab.treefile(packages=["bash", "vim"])
    composed = lab.compose()
    head = lab.repo.refs()[REF]
    assert composed.commit == head
    history = [head]
    while (parent := lab.repo.parent(history[-1])) is not None:
        history.append(parent)
    assert history[-1] == first.commit
    assert len(history) == (3 if package == "vim" else 2), "what was composed is not composed again"
    for commit in history:
        verified(lab, commit)
    assert head.encode() in _raw(lab.repo.path / "summary"), "the summary says so"


def _raw(summary: Path) -> bytes:
    """Return a summary with its checksums (32 bytes each) in hexadecimal."""
    return summary.read_bytes().hex().encode()


@only("2018.7")
def test_a_failing_run_leaves_nothing_that_the_next_does_not_sign(lab: Lab) -> None:
    (lab.state / "dies").write_text("SIGSEGV")
    with pytest.raises(BuildError, match=r"host\.json could not be composed: .*was killed by SIGSEGV"):
        lab.compose()
    (lab.state / "dies").unlink()
    composed = lab.compose()
    assert composed.version == "26"
    verified(lab, composed.commit)


@pytest.mark.parametrize(
    ("lab", "step"),
    [
        ("2016.13", "sign"),
        ("2018.7", "sign"),
        ("2018.7", "pull_local"),
        ("2018.7", "set_ref"),
        ("2018.7", "update_summary"),
    ],
    indirect=["lab"],
)
def test_wherever_a_run_ends_the_next_one_finishes_its_work(
    lab: Lab, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.compose()
    lab.treefile(packages=["vim"])

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Repo, step, dies)
        with pytest.raises(KeyboardInterrupt):
            lab.compose()
    composed = lab.compose()
    assert (composed.version, composed.commit) == ("26.1", lab.repo.refs()[REF])
    verified(lab, composed.commit)
    assert composed.commit.encode() in _raw(lab.repo.path / "summary")


@only("2016.13", "2018.7")
def test_a_repository_that_was_composed_unsigned_is_signed_once_there_is_a_key(lab: Lab) -> None:
    lab.settings = {"signing_user": None}
    first = lab.compose()
    assert not signatures(lab.repo.detached_metadata(first.commit) or b"")
    lab.settings = {}
    assert lab.compose().commit == first.commit
    verified(lab, first.commit)


@only("2018.7")
def test_a_new_key_signs_the_head_and_leaves_older_signatures_alone(lab: Lab) -> None:
    first = lab.compose()
    lab.treefile(packages=["vim"])
    second = lab.compose()
    lab.settings = {"signing_user": "another key <other@example.org>"}
    assert lab.compose().commit == second.commit
    verified(lab, second.commit)
    assert [
        len(signatures(lab.repo.detached_metadata(commit) or b"")) for commit in (first.commit, second.commit)
    ] == [1, 2]


# --- repositories -------------------------------------------------------------------------------------------


@only("2018.7", "2026.2")
def test_the_unified_core_goes_on_from_what_was_published_without_it(lab: Lab) -> None:
    lab.settings = {"unified_core": False}
    first = lab.compose()
    lab.settings = {}
    lab.treefile(packages=["vim"])
    second = lab.compose()
    assert (second.version, lab.repo.parent(second.commit)) == ("26.1", first.commit)
    assert Repo(lab.directory / "build-repo").mode == "bare-user"
    # and back, and the build repository learns of that
    lab.settings = {"unified_core": False}
    lab.treefile(packages=["nano"])
    third = lab.compose()
    lab.settings = {}
    lab.treefile(packages=["joe"])
    fourth = lab.compose()
    assert (lab.repo.parent(third.commit), lab.repo.parent(fourth.commit)) == (second.commit, third.commit)
    verified(lab, fourth.commit)


@only("2018.7")
def test_a_lost_build_repository_is_made_again(lab: Lab) -> None:
    first = lab.compose()
    (lab.directory / "build-repo").rename(lab.place / "gone")
    assert not lab.compose().new
    lab.treefile(packages=["vim"])
    second = lab.compose()
    assert (second.version, lab.repo.parent(second.commit)) == ("26.1", first.commit)
