"""A compose of several architectures whose makers and promoters are interrupted, or come at once."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild import files
from imagebuild.config.places import cache_directory
from imagebuild.destinations.local import Directory
from imagebuild.destinations.source import DirectorySource
from imagebuild.errors import UsageError
from imagebuild.publish import joint, stable
from imagebuild.publish.findings import describe
from imagebuild.publish.layout import STATUS
from imagebuild.publish.numbers import take_names
from imagebuild.publish.promote import promote
from imagebuild.publish.verify import Trust, verify
from imagebuild.session.releases import Wish, publish, signer_of
from imagebuild.tools.checksum import HashedFile
from imagebuild.tools.ostree.repository import Repo
from tests.publish.releasing import ARM, go, made, mark_bad, refused, wanted
from tests.release_lab import FIRST, SECOND, Line

ID = "Debian-Atomic-12-20261126.0"


def problems(place: Path, line: Line) -> list[str]:
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=cache_directory())
    found = verify(DirectorySource(place), trust)
    return list(describe(found)[: len(found.problems)])


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_first_part_killed_before_what_is_of_all_keeps_its_number(
    lines: tuple[Line, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, arm = lines
    material = line.material(line.commit("12.1", FIRST))
    with monkeypatch.context() as patch:
        patch.setattr(joint, "complete", killed)
        with pytest.raises(KeyboardInterrupt):
            line.release(material)
    assert not (line.output / ID / STATUS).exists()
    again = publish(material, Wish(output=line.output, day="20261126"))
    assert (again.place.name, again.new) == (ID, False)
    assert made(arm) == again.place
    assert problems(again.place, line) == []


def test_whoever_sees_that_it_is_finished_finds_the_rest(
    lines: tuple[Line, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _ = lines
    written: list[str] = []
    real = files.replace

    def replace_it(file: Path, data: str | bytes) -> None:
        written.append(file.name)
        real(file, data)

    monkeypatch.setattr(files, "replace", replace_it)
    made(line)
    assert written.index(STATUS) > max(written.index(name) for name in ("index.html", "composeinfo.json"))


@pytest.mark.parametrize("which", ["first", "second"])
def test_what_an_interrupted_part_left_gives_way_to_the_next(
    lines: tuple[Line, Line], which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it was moved in, before its facts; then its configuration changes."""
    line, arm = lines
    if which == "second":
        made(line)
    maker = arm if which == "second" else line
    material = maker.material(maker.commit("12.1", FIRST))

    def add_half(compose: Path, part: Path) -> None:
        paths = sorted(file.relative_to(part) for file in part.rglob("*") if file.is_file())
        for path in [path for path in paths if path.name != "release.json"]:
            (compose / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part / path, compose / path)
        (compose / "metadata" / maker.arch / "stray").write_text("of the run before")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(joint, "add", add_half)
        with pytest.raises(KeyboardInterrupt):
            maker.release(material)
    place = maker.release(replace(material, gate="another"))
    assert place.name == ID
    assert problems(place, line) == []


def test_a_number_of_a_compose_that_is_gone_is_not_given_again(lines: tuple[Line, Line]) -> None:
    line, _ = lines
    shutil.rmtree(made(line))
    assert line.release(line.material(line.trees[0], grown=1)).name == "Debian-Atomic-12-20261126.1"


def test_a_compose_that_is_bad_is_not_joined(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    mark_bad(line, made(line), "it does not boot")
    published = publish(arm.material(arm.commit("12.1", SECOND)), Wish(output=line.output))
    assert published.place.name != ID


def test_one_who_signs_with_another_key_does_not_join(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    made(line)
    material = arm.material(arm.commit("12.1", FIRST))
    with signer_of(material.config) as signer:
        mine = take_names(line.output, material, day="20261126", nightly=False, signer=signer.fingerprint)
    assert mine.compose_id == ID
    other = take_names(line.output, material, day="20261126", nightly=False, signer="F" * 40)
    assert other.compose_id == "Debian-Atomic-12-20261126.1"


def test_parts_of_several_composes_do_not_go_out(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    first = made(line)
    arm.output = tmp_path / "elsewhere"
    made(arm, "12.0")
    second = arm.release(arm.material(arm.commit("12.1", FIRST)))
    assert (first.name, second.name) == (ID, "Debian-Atomic-12-20261126.1")
    with pytest.raises(UsageError, match="are parts of several composes"):
        go(line, first, second, lines=(arm.config,))


def test_each_architecture_has_its_own_stable_ref(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    line.changes["publish"] |= {"ref": "stable/x86_64"}
    arm.changes = line.changes | {"publish": line.changes["publish"] | {"ref": "stable/aarch64"}}
    made(line)
    said = go(line, made(arm), lines=(arm.config,))
    assert f"stable/x86_64 is {line.trees[0].commit}" in said
    assert f"stable/aarch64 is {arm.trees[0].commit}" in said
    repo = stable.open_stable(line.config)
    assert repo.refs() == {
        "stable/x86_64": line.trees[0].commit,
        "stable/aarch64": arm.trees[0].commit,
    }


def test_a_commit_that_nobody_here_has_is_missed_before_anything_goes(
    lines: tuple[Line, Line], tmp_path: Path
) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    Repo.ensure(tmp_path / "empty")
    said = refused(line, place, lines=(arm.config,), source=tmp_path / "empty")
    assert "is neither in" in said
    assert not (tmp_path / "mirror" / ID).exists()


class Busy(Directory):
    """A destination to which somebody else promotes the other architecture while we send ours."""

    def __init__(self, place: Path, other: object) -> None:
        super().__init__(place)
        self.other, self.met = other, False

    def upload(self, directory: Path, name: str, entries: Mapping[str, HashedFile]) -> int:
        count = super().upload(directory, name, entries)
        if not self.met:
            self.met = True
            assert callable(self.other)
            self.other()
        return count


def test_two_promotions_of_two_architectures_at_once(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    first = made(line)
    arm.output = tmp_path / "elsewhere"
    second = made(arm)
    mirror = tmp_path / "mirror"
    arm.changes = line.changes | {
        "publish": line.changes["publish"] | {"repo": f"file://{tmp_path}/stable-arm"},
    }
    (tmp_path / "arm" / "repo").mkdir(exist_ok=True)
    asked = wanted(arm, second, to=Directory(mirror), later=("x86_64",), source=line.place / "repo")

    def promote_the_other() -> None:
        with signer_of(asked.config) as signer:
            promote(asked, signer)

    go(line, first, to=Busy(mirror, promote_the_other), later=("aarch64",))
    assert problems(mirror / ID, line) == []
    latest = (mirror / "latest.json").read_text()
    assert line.ref in latest
    assert ARM in latest


def test_what_joins_while_it_is_promoted_does_not_go_out(
    lines: tuple[Line, Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nightly build adds its architecture to the directory that is promoted from."""
    line, arm = lines
    place = made(line)
    asked = wanted(line, place, later=("aarch64",))

    def join(step: str) -> None:
        if step.startswith("upload"):
            made(arm)

    with signer_of(asked.config) as signer:
        promote(asked, signer, step=join)
    mirror = tmp_path / "mirror" / ID
    assert problems(mirror, line) == []
    assert not list(mirror.glob("*/aarch64"))
    assert ARM not in (tmp_path / "mirror" / "latest.json").read_text()
