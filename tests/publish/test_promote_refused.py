"""What is not promoted, and what a person is told then."""

import json
import shutil
from pathlib import Path

import pytest

from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import State
from imagebuild.publish import facts, stable
from imagebuild.publish.promote import promote
from imagebuild.session.releases import signer_of
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo
from tests.publish.releasing import first_and_second, go, refused, sign_again, wanted
from tests.release_lab import FIRST, REF, Line


def test_the_ref_moved_meanwhile(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    go(line, first)
    other = line.commit("12.3", FIRST)
    stable = Repo(tmp_path / "stable")
    stable.pull(Remote(url=f"file://{line.place}/repo", keys=(), verify=False), other.commit)
    stable.set_ref(REF, other.commit)
    assert "it moved meanwhile" in refused(line, second)
    assert not (tmp_path / "mirror" / second.name).exists()


def test_two_with_one_name(line: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, _ = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    other = tmp_path / "other" / first.name
    shutil.copytree(first, other)
    of_another_architecture(monkeypatch, other)
    assert "two architectures have the same compose id" in refused(line, first, other)


def of_another_architecture(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    real = facts.read_all

    def read_all(directory: Path) -> list[facts.Facts]:
        arch = {"arch": "aarch64"} if directory == place else {}
        return [known.model_copy(update=arch) for known in real(directory)]

    monkeypatch.setattr(facts, "read_all", read_all)


def test_a_second_promotion_at_the_same_time(line: Line) -> None:
    first, _ = first_and_second(line)
    asked = wanted(line, first)

    def step(name: str) -> None:
        if name.startswith("upload"):
            assert "another promotion is at work" in refused(line, first)

    with signer_of(asked.config) as signer:
        promote(asked, signer, step=step)


def test_architectures(line: Line, tmp_path: Path) -> None:
    first, second = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    assert "aarch64 is missing" in refused(line, first)
    line.changes["publish"] |= {"arches": ["x86_64"]}
    assert "given twice" in refused(line, first, first)
    del second, tmp_path


def test_architectures_that_disagree(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = first_and_second(line)
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    of_another_architecture(monkeypatch, second)
    assert "disagree on the version: x86_64 12.1, aarch64 12.2" in refused(line, first, second)


def test_a_hole_in_the_verdict(line: Line) -> None:
    """Nothing is signed that has one; what somebody signed by hand all the same is not promoted."""
    tree = line.commit("12.1", FIRST)
    with pytest.raises(
        BuildError, match=r"nothing is signed that does not hold: .* artifact-boots is failed"
    ):
        line.release(line.material(tree, states=[State.FAILED]))
    place = line.release(line.material(tree), day="20261126")
    rows = json.loads((place / "verdict.json").read_text())
    rows[0]["state"] = "not tested"
    (place / "verdict.json").write_text(json.dumps(rows))
    sign_again(place, line)
    assert "is not fit" in refused(line, place)
    assert "artifact-boots is not tested" in refused(line, place)
    (place / "verdict.json").write_text(json.dumps(rows[1:]))
    sign_again(place, line)
    assert "it was not tested for artifact-boots" in refused(line, place)


def test_what_nobody_asked_of_atomic_is_not_promoted(line: Line) -> None:
    tree = line.commit("12.1", FIRST, {"usr/bin/rpm-ostree": b"x", "usr/bin/atomic": b"x"})
    place = line.release(line.material(tree, atomic=True))
    rows = json.loads((place / "verdict.json").read_text())
    (place / "verdict.json").write_text(
        json.dumps([row for row in rows if not row["criterion"].endswith("-by-atomic-host")])
    )
    sign_again(place, line)
    assert "-by-atomic-host" in refused(line, place)


def test_what_was_changed_since(line: Line, tmp_path: Path) -> None:
    first, _ = first_and_second(line)
    (first / "index.html").write_text("other")
    assert "is not whole" in refused(line, first)
    assert not (tmp_path / "mirror").exists()


def test_nightlies_stay_nightlies(line: Line) -> None:
    place = line.release(line.material(line.commit("12.1", FIRST)), nightly=True)
    assert "is a nightly" in refused(line, place)


def test_another_configuration(line: Line) -> None:
    first, _ = first_and_second(line)
    line.changes["release"] = "13"
    with pytest.raises(UsageError, match="for Debian 13"):
        go(line, first)


def test_one_that_was_pruned_meanwhile(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = first_and_second(line)
    # the last thing before it is recorded as going out
    monkeypatch.setattr(stable, "check_ref", lambda *_: shutil.rmtree(first))
    assert "is no longer there" in refused(line, first)
