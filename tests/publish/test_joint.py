"""A compose of several architectures: in one directory, verified and promoted as one."""

import json
from pathlib import Path

import pytest
from productmd.compose import Compose

from imagebuild.config.places import cache_directory
from imagebuild.destinations.source import DirectorySource
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import facts, joint, metadata
from imagebuild.publish.findings import ProblemKind, Verification, describe
from imagebuild.publish.layout import COMMON
from imagebuild.publish.verify import Trust, verify
from imagebuild.session.releases import Wish, prune, publish
from tests.publish.releasing import ARM, go, made, mark_bad, refused
from tests.release_lab import FIRST, SECOND, Line

ID = "Debian-Atomic-12-20261126.0"


def checked(place: Path, line: Line) -> Verification:
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=cache_directory())
    return verify(DirectorySource(place), trust)


def below(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()}


def test_two_architectures_are_one_compose(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    alone = made(line)
    assert alone.name == ID
    before = {path: (alone / path).read_bytes() for path in below(alone)}
    assert checked(alone, line).problems == []
    both = made(arm)
    assert both == alone
    # what was there of the first is as it was, besides what is of all
    changed = {path for path, data in before.items() if (both / path).read_bytes() != data}
    assert changed - {*COMMON, f"{ID}-CHECKSUM"} == set()
    found = checked(both, line)
    assert found.problems == []
    assert set(found.commits) == {"x86_64", "aarch64"}
    assert "of aarch64" in describe(found)[0]
    assert not [path for path in both.parent.iterdir() if path.name.endswith(".partial")]


def test_it_is_laid_out_as_fedoras_are(lines: tuple[Line, Line]) -> None:
    """As productmd reads a compose, and as Fedora's are: images.json of Fedora-28-20180326.0 has
    `AtomicHost/aarch64/images/…` in its list of AtomicHost and aarch64 (fedora-infra/fedimg, its tests),
    composeinfo.json an os_tree of each architecture (release-engineering/productmd, tests of ComposeInfo).
    """
    line, arm = lines
    made(line)
    place = made(arm)
    assert {str(path.relative_to(place)) for path in place.glob("AtomicHost/*/*")} == {
        f"AtomicHost/{arch}/{kind}" for arch in ("x86_64", "aarch64") for kind in ("iso", "images")
    }
    compose = Compose(str(place))
    variant = compose.info.variants.variants["AtomicHost"]
    assert variant.arches == {"x86_64", "aarch64"}
    assert set(compose.images["AtomicHost"]) == {"x86_64", "aarch64"}
    for arch, images in compose.images["AtomicHost"].items():
        assert {image.arch for image in images} == {arch}
        assert all((place / image.path).stat().st_size == image.size for image in images)
    assert compose.info.compose.id == ID
    known = [
        each.model_copy(update={"os_tree": {"kernel": f"AtomicHost/{each.arch}/os/images/pxeboot/vmlinuz"}})
        for each in facts.read_all(place)
    ]
    (variant,) = json.loads(metadata.composeinfo(known))["payload"]["variants"].values()
    assert variant["arches"] == ["aarch64", "x86_64"]
    assert variant["paths"]["os_tree"] == {
        "aarch64": "AtomicHost/aarch64/os",
        "x86_64": "AtomicHost/x86_64/os",
    }


def test_there_is_one_page(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    page = (place / "index.html").read_text()
    for known in facts.read_all(place):
        assert f'<section id="{known.arch}">' in page
        assert known.tree.commit in page
        assert all(download.path in page for download in known.downloads)
        assert f"evidence/{known.arch}/report.html" in page
    ids = page.split(' id="')[1:]
    assert len(ids) == len({text.partition('"')[0] for text in ids})
    index = (place.parent / "index.html").read_text()
    assert index.count(f'href="{ID}/index.html"') == 1
    assert line.ref in index
    assert ARM in index
    feed = (place.parent / "releases.atom").read_text()
    assert feed.count(f"<id>urn:x-imagebuild:compose:{ID}</id>") == 1
    assert json.loads((place.parent / "latest.json").read_text())["refs"] == {line.ref: ID, ARM: ID}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("metadata/aarch64/release.json", ProblemKind.CHANGED),
        ("evidence/x86_64/verdict.json", ProblemKind.CHANGED),
        ("metadata/composeinfo.json", ProblemKind.CHANGED),
        ("index.html", ProblemKind.CHANGED),
    ],
)
def test_verify_reads_both(lines: tuple[Line, Line], path: str, kind: ProblemKind) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    text = (place / path).read_text()
    (place / path).write_text(text.replace(": ", ":  ", 1) if ": " in text else text + " ")
    assert (kind, path) in [(each.kind, each.path) for each in checked(place, line).problems]


def test_verify_misses_an_architecture_that_was_taken_away(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    for path in [path for path in below(place) if "aarch64" in path]:
        (place / path).unlink()
    assert ProblemKind.MISSING in [each.kind for each in checked(place, line).problems]


def test_a_signer_who_takes_one_architecture_for_another(lines: tuple[Line, Line]) -> None:
    line, _ = lines
    place = made(line)
    (place / "metadata" / "aarch64").mkdir()
    (place / "metadata" / "x86_64" / "release.json").rename(place / "metadata" / "aarch64" / "release.json")
    info = (place / "metadata" / "composeinfo.json").read_text()
    (place / "metadata" / "composeinfo.json").write_text(info.replace("x86_64", "aarch64"))
    says = [each.says for each in checked(place, line).problems]
    assert any("whose facts are in metadata/x86_64/release.json" in text for text in says), says


def test_architectures_of_different_versions_are_two_composes(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    assert made(line, "12.1").name == ID
    assert made(arm, "12.2").name == "Debian-Atomic-12-20261126.1"
    # and who comes later finds its own
    second = line.material(line.commit("12.2", SECOND))
    assert line.release(second).name == "Debian-Atomic-12-20261126.1"
    first = arm.commit("12.3", FIRST)
    assert arm.release(arm.material(first)).name == "Debian-Atomic-12-20261126.2"


def test_a_number_of_a_compose_of_several_is_not_free_for_one_alone(lines: tuple[Line, Line]) -> None:
    line, _ = lines
    (line.output / ".respins" / ID).mkdir(parents=True)
    line.changes["publish"] |= {"arches": ["x86_64"]}
    assert made(line).name == "Debian-Atomic-12-20261126.1"


def test_after_midnight_it_joins_the_compose_of_the_night(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    made(line)
    published = publish(arm.material(arm.commit("12.1", FIRST)), Wish(output=line.output))
    assert published.place.name == ID
    assert published.new
    # the next one of the same version is another
    again = publish(arm.material(arm.trees[0], grown=1), Wish(output=line.output, again=True))
    assert again.place.name != ID


def test_killed_before_what_is_of_all_was_made_it_goes_on(
    lines: tuple[Line, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, arm = lines
    made(line)
    material = arm.material(arm.commit("12.1", FIRST))
    with monkeypatch.context() as patch:
        patch.setattr(joint, "complete", killed)
        with pytest.raises(KeyboardInterrupt):
            arm.release(material)
    place = line.output / ID
    assert checked(place, line).problems
    again = publish(material, Wish(output=line.output, day="20261126"))
    assert (again.place, again.new) == (place, False)
    assert checked(place, line).problems == []
    # nothing is signed anew without need
    signed = (place / f"{ID}-CHECKSUM").read_bytes()
    publish(material, Wish(output=line.output, day="20261126"))
    assert (place / f"{ID}-CHECKSUM").read_bytes() == signed


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_one_promotion_of_both(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    said = go(line, place, lines=(arm.config,))
    assert f"{line.ref} is {line.trees[0].commit}" in said
    assert f"{ARM} is {arm.trees[0].commit}" in said
    mirror = tmp_path / "mirror"
    assert below(mirror / ID) == below(place)
    assert checked(mirror / ID, line).problems == []
    assert json.loads((mirror / "releases.json").read_text()) == [ID]
    assert json.loads((mirror / "latest.json").read_text())["refs"] == {line.ref: ID, ARM: ID}
    # once more: nothing is sent
    assert any("0 of them sent now" in line for line in go(line, place, lines=(arm.config,)))


def test_several_places_are_one_compose_there(lines: tuple[Line, Line], tmp_path: Path) -> None:
    """Machines that share nothing make a part each."""
    line, arm = lines
    arm.output = tmp_path / "elsewhere"
    places = made(line), made(arm)
    assert [place.name for place in places] == [ID, ID]
    go(line, *places, lines=(arm.config,))
    assert checked(tmp_path / "mirror" / ID, line).problems == []
    assert set(checked(tmp_path / "mirror" / ID, line).commits) == {"x86_64", "aarch64"}


def test_a_second_architecture_joins_what_is_there(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    arm.output = tmp_path / "elsewhere"
    mirror, first = tmp_path / "mirror" / ID, made(line)
    assert "aarch64 is missing" in refused(line, first)
    go(line, first, later=("aarch64",))
    before = {path: (mirror / path).read_bytes() for path in below(mirror)}
    assert set(checked(mirror, line).commits) == {"x86_64"}
    go(line, made(arm), lines=(arm.config,))
    found = checked(mirror, line)
    assert found.problems == []
    assert set(found.commits) == {"x86_64", "aarch64"}
    assert {path for path, data in before.items() if (mirror / path).read_bytes() != data} <= {
        *COMMON,
        f"{ID}-CHECKSUM",
    }
    assert json.loads((tmp_path / "mirror" / "latest.json").read_text())["refs"] == {line.ref: ID, ARM: ID}
    # the first again: what joined stays
    go(line, first)
    assert set(checked(mirror, line).commits) == {"x86_64", "aarch64"}


def test_what_joins_must_be_of_the_same_version(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    arm.output = tmp_path / "elsewhere"
    go(line, made(line), later=("aarch64",))
    said = refused(line, made(arm, "12.2"), lines=(arm.config,))
    assert "disagree on the version: aarch64 12.2, x86_64 12.1" in said


def test_what_was_changed_at_the_destination_is_not_signed_again(
    lines: tuple[Line, Line], tmp_path: Path
) -> None:
    line, arm = lines
    arm.output = tmp_path / "elsewhere"
    go(line, made(line), later=("aarch64",))
    fragment = tmp_path / "mirror" / ID / "metadata" / "x86_64" / "page.html"
    fragment.write_text(fragment.read_text() + "<b>")
    assert "page.html is not what was signed" in refused(line, made(arm), lines=(arm.config,))


def test_two_that_were_made_for_themselves_are_not_one(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    arm.output = tmp_path / "elsewhere"
    line.changes["publish"] |= {"arches": ["x86_64"]}
    first = made(line)
    assert (first / "metadata" / "release.json").is_file()
    arm.changes["publish"] = line.changes["publish"] | {"arches": ["x86_64", "aarch64"]}
    with pytest.raises(UsageError, match="the same compose id"):
        go(line, first, made(arm), lines=(arm.config,))


def test_another_of_the_same_name_is_not_written_over(lines: tuple[Line, Line], tmp_path: Path) -> None:
    """Machines that share no directory of releases give the same numbers."""
    line, arm = lines
    go(line, made(line), later=("aarch64",))
    before = below(tmp_path / "mirror")
    line.output = tmp_path / "elsewhere"
    other = line.release(line.material(line.commit("12.2", SECOND)))
    assert other.name == ID
    assert "is at the destination, with another x86_64: commit" in refused(line, other, later=("aarch64",))
    # nor one of a single architecture
    line.changes["publish"] |= {"arches": ["x86_64"]}
    line.output = tmp_path / "third"
    alone = line.release(line.material(line.trees[1]))
    assert alone.name == ID
    assert "is at the destination, for several architectures" in refused(line, alone)
    assert below(tmp_path / "mirror") == before
    assert arm.trees == []


def test_one_of_several_does_not_join_one_that_is_alone(lines: tuple[Line, Line], tmp_path: Path) -> None:
    line, arm = lines
    line.changes["publish"] |= {"arches": ["x86_64"]}
    go(line, made(line))
    line.changes["publish"] |= {"arches": ["x86_64", "aarch64"]}
    arm.output = tmp_path / "elsewhere"
    said = refused(line, made(arm), lines=(arm.config,), later=("x86_64",))
    assert "is at the destination, for one architecture alone" in said


def test_a_bad_compose_is_bad_of_both(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    made(line)
    place = made(arm)
    mark_bad(line, place, "it does not boot")
    for known in facts.read_all(place):
        assert (place.parent / "bad" / f"{known.tree.commit}.asc").is_file()
    assert "marked bad" in refused(line, place, lines=(arm.config,))


def test_prune_takes_a_compose_when_each_of_its_architectures_lets_it_go(
    lines: tuple[Line, Line],
) -> None:
    line, arm = lines
    line.changes["publish"] |= {"keep": {"nightlies": 1}}

    def nightly(of: Line, version: str, packages: dict[str, str]) -> Path:
        return of.release(of.material(of.commit(version, packages)), nightly=True)

    old = nightly(line, "12.1", FIRST)
    assert nightly(arm, "12.1", FIRST) == old
    nightly(line, "12.2", SECOND)
    # the other's newest is in there
    assert str(old) not in pruned(line)
    nightly(arm, "12.2", SECOND)
    assert str(old) in pruned(line)


def pruned(line: Line) -> list[str]:
    gone = prune(line.config, line.ref, line.place / "store", line.output, None, really=False)
    return [each.what for each in gone]


def test_what_is_not_what_was_signed_does_not_become_part_of_what_is(lines: tuple[Line, Line]) -> None:
    line, arm = lines
    fragment = made(line) / "metadata" / "x86_64" / "page.html"
    fragment.write_text(fragment.read_text() + "<b>")
    with pytest.raises(BuildError, match=r"x86_64/page\.html is not what was signed"):
        made(arm)
