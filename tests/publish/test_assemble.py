"""A release as it lies in its directory: names, links, lists, metadata, what changed; numbers that are taken
once; what holds it.
"""

import json
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from productmd.compose import Compose

from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import Firmware, State
from imagebuild.publish import facts, index, versions
from imagebuild.publish.facts import UpdateFacts
from imagebuild.publish.material import Material
from imagebuild.publish.numbers import released_as, take_names
from imagebuild.publish.stable import last_commit
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.tools import gpg
from imagebuild.tools.checksum import entries_of
from tests.release_lab import FIRST, REF, SECOND, Line, digest


@pytest.fixture
def line(tmp_path: Path, homedir: Path) -> Line:
    return Line(tmp_path / "line", homedir)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, homedir: Path) -> tuple[Line, Path, Path]:
    """A line with two releases; the tests only read them."""
    made = Line(tmp_path_factory.mktemp("two") / "line", homedir)
    first = made.release(made.material(made.commit("12.1", FIRST)), day="20261112")
    second = made.release(made.material(made.commit("12.2", SECOND), boot=70.0))
    return made, first, second


def test_names_and_links(two: tuple[Line, Path, Path]) -> None:
    made, first, second = two
    assert first.name == "Debian-Atomic-12-20261112.0"
    assert second.name == "Debian-Atomic-12-20261126.0"
    image = second / "AtomicHost/x86_64/images/Debian-AtomicHost-12-20261126.0.x86_64.qcow2"
    assert (
        image.stat().st_ino
        == (made.work / "store-12.2-0" / "Debian-AtomicHost-12.2.x86_64.qcow2").stat().st_ino
    )
    assert (second / "COMPOSE_ID").read_text().strip() == second.name
    assert (second / "STATUS").read_text() == "FINISHED\n"
    assert not [name for name in made.output.iterdir() if name.name.endswith(".partial")]


def test_everything_is_in_a_signed_list(two: tuple[Line, Path, Path]) -> None:
    made, _, second = two
    listed: dict[str, str] = {}
    for file in second.rglob("*-CHECKSUM"):
        payload = gpg.signed_payload(file.read_bytes(), [made.key], what=file.name)
        base = str(file.parent.relative_to(second))
        for name, entry in entries_of(payload, what=file.name).items():
            listed[name if base == "." else f"{base}/{name}"] = entry.sha256
    manifest = f"{second.name}-x86_64-CHECKSUM"
    there = {str(file.relative_to(second)) for file in second.rglob("*") if file.is_file()}
    assert there - set(listed) == {manifest}
    assert set(listed) <= there
    assert all(digest(second / path) == checksum for path, checksum in listed.items())


def test_productmd_reads_it_as_a_compose(two: tuple[Line, Path, Path]) -> None:
    _, _, second = two
    compose = Compose(str(second))
    assert compose.info.compose.id == second.name
    assert compose.info.compose.type == "production"
    images = compose.images.images["AtomicHost"]["x86_64"]
    assert {(each.type, each.format) for each in images} == {
        ("dvd-ostree", "iso"),
        ("qcow2", "qcow2"),
        ("raw-xz", "raw.xz"),
        ("vmdk", "vmdk"),
        ("vagrant-libvirt", "vagrant-libvirt.box"),
        ("vagrant-virtualbox", "vagrant-virtualbox.box"),
    }
    (iso,) = [each for each in images if each.format == "iso"]
    assert (iso.bootable, iso.volume_id, iso.implant_md5) == (True, "Debian-AtomicHost-x86_64-12", "ab" * 16)


def test_other_metadata(two: tuple[Line, Path, Path]) -> None:
    made, _, second = two
    meta = json.loads((second / "metadata/meta.json").read_text())
    assert meta["ostree-commit"] == made.trees[1].commit
    assert (
        meta["images"]["ostree"]["sha256"]
        == digest(second / meta["images"]["ostree"]["path"])
        == made.trees[1].commit
    )
    assert meta["images"]["qemu"]["path"].endswith(".qcow2")
    provenance = json.loads((second / "metadata/provenance.json").read_text())
    assert {each["name"] for each in provenance["subject"]} == {
        each.path for each in facts.read(second).downloads
    }
    dependencies = provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependencies[0]["digest"]["sha256"] == made.trees[1].commit
    assert {each.get("name") for each in dependencies[1:]} == {"configuration", "kickstart:cloud"}


def test_what_changed(two: tuple[Line, Path, Path]) -> None:
    made, first, second = two
    text = (second / "metadata/changes.txt").read_text()
    assert (
        text
        == f"ostree diff commit old: {made.trees[0].commit}\nostree diff commit new: {made.trees[1].commit}\n"
        "Upgraded:\n  bash 5.2-1.amd64 -> 5.2-2.amd64\nDowngraded:\n  kernel 6.1.1-1.amd64 -> 6.1.0-9.amd64\n"
        "Removed:\n  gone-1.0.amd64\nAdded:\n  fresh-1:2.0-1.amd64\n"
    )
    found = json.loads((second / "metadata/changes.json").read_text())
    assert found["upgraded"][0]["changelog"] == ["* A hole is closed."]
    assert "the first release" in (first / "metadata/changes.txt").read_text()
    mail = (second / "announcement.txt").read_text()
    assert mail.startswith("Subject: Test Host 1 Release Announcement: 12.2\n")
    assert "bash 5.2-1.amd64 -> 5.2-2.amd64" in mail


def test_facts(two: tuple[Line, Path, Path]) -> None:
    made, _, second = two
    known = facts.read(second)
    assert known.tree.kernel_arguments == "root=/dev/mapper/a console=ttyS0"
    assert known.downloads[1].boot == {"bios": 70.0, "uefi": 70.0, "uefi-secure": 70.0}
    assert known.previous is not None
    assert known.previous.commit == made.trees[0].commit
    assert [each.compose_id for each in facts.history(made.output, known.ref)] == [
        "Debian-Atomic-12-20261112.0",
        second.name,
    ]
    assert last_commit(made.config, made.output, known.ref, but=known.tree.commit) == made.trees[0].commit


def test_a_change_of_kernel_arguments_is_told(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    material = line.material(line.commit("12.2", SECOND))
    for place in {place for _, place in material.cells}:
        (place / "journal.txt").write_text(
            "kernel: Command line: BOOT_IMAGE=/y root=/dev/mapper/a quiet ostree=/x\n"
        )
    made = line.release(material)
    assert (
        "kernel arguments: root=/dev/mapper/a console=ttyS0 -&gt; root=/dev/mapper/a quiet"
        in (made / "index.html").read_text()
    )


# --- numbers ------------------------------------------------------------------------------------------------


def test_respin_numbers_are_taken_once(line: Line) -> None:
    tree = line.commit("12.1", FIRST)
    one, other = line.material(tree), line.material(tree, grown=10)
    assert take_names(line.output, one, day="20261126", nightly=False, signer="").respin == 0
    # the same again: it was interrupted; something else: the next number
    assert take_names(line.output, one, day="20261126", nightly=False, signer="").respin == 0
    assert take_names(line.output, other, day="20261126", nightly=False, signer="").respin == 1
    assert take_names(line.output, other, day="20261126", nightly=True, signer="").respin == 0
    with pytest.raises(UsageError, match=r"20261126\.0 is taken"):
        take_names(line.output, other, day="20261126", nightly=False, signer="", respin=0)


def test_nothing_is_released_twice(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    assert released_as(line.output, material, nightly=False) is None
    place = line.release(material)
    known = released_as(line.output, material, nightly=False)
    assert known == facts.read(place)
    assert released_as(line.output, material, nightly=True) is None
    assert released_as(line.output, material, nightly=False, day="20261126", respin=0) == known
    assert released_as(line.output, material, nightly=False, day="20261127") is None
    assert released_as(line.output, material, nightly=False, respin=1) is None
    with pytest.raises(UsageError, match="is taken"):
        line.release(material, respin=0)


def test_a_release_directory_that_exists_is_left_alone(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    (line.output / "Debian-Atomic-12-20261126.0").mkdir(parents=True)
    assert line.release(material).name == "Debian-Atomic-12-20261126.1"
    assert not list((line.output / "Debian-Atomic-12-20261126.0").iterdir())


# --- what holds it ------------------------------------------------------------------------------------------


def test_a_download_that_was_changed_since_it_was_tested(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    file = material.downloads[2].file
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(BuildError, match="is no longer what was tested"):
        line.release(material)
    assert not facts.history(line.output, material.tree.ref)


def test_what_nobody_tested_is_not_signed(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    with pytest.raises(
        BuildError,
        match=r"installer-12.1.iso under uefi it was not tested for installer-media-boots-and-installs",
    ):
        line.release(
            replace(
                material,
                cells=tuple(
                    pair
                    for pair in material.cells
                    if pair[0].criterion != criteria.INSTALLS or pair[0].firmware is Firmware.BIOS
                ),
            )
        )
    with pytest.raises(BuildError, match="not tested for"):
        line.release(replace(material, cells=()))


def test_what_nobody_asked_of_atomic_is_not_signed(line: Line) -> None:
    tree = line.commit("12.1", FIRST, {"usr/bin/rpm-ostree": b"x", "usr/bin/atomic": b"x"})
    with pytest.raises(BuildError, match=r"it was not tested for .*-by-atomic-host"):
        line.release(line.material(tree))
    assert line.release(line.material(tree, atomic=True)).is_dir()


@pytest.mark.parametrize(
    ("grown", "boot", "kind"), [(200_000, 60.0, "artifact-growth"), (0, 120.0, "boot-growth")]
)
def test_growth_holds_until_somebody_answers_for_it(line: Line, grown: int, boot: float, kind: str) -> None:
    first = line.commit("12.1", FIRST)
    line.release(line.material(first), day="20261112")
    second = line.commit("12.2", SECOND)
    with pytest.raises(BuildError, match="more than") as error:
        line.release(line.material(second, grown=grown, boot=boot))
    assert kind in error.value.hint
    line.changes["waivers"] = [{"criterion": kind, "who": "Ada", "why": "known", "until": date(2026, 11, 26)}]
    place = line.release(line.material(second, grown=grown, boot=boot))
    assert "Ada: known" in (place / "index.html").read_text()


def test_an_update_that_grew(line: Line) -> None:
    """Of hosts that come from the release before; from another line it may be as large as it is."""

    def material(version: str, size: int) -> Material:
        made = line.material(line.commit(version, FIRST))
        update = UpdateFacts(commit="ab" * 32, version="1", size=size)
        far = UpdateFacts(commit="cd" * 32, version="11.9", ref="debian/11/x", size=100 * size)
        return replace(made, updates=(update, far))

    first = line.release(material("12.1", 1_000_000), day="20261112")
    page = (first / "index.html").read_text()
    assert "1.0 MB are fetched, as a static delta" in page
    assert "version 11.9 of debian/11/x" in page
    assert facts.read(first).updates[1].size == 100_000_000
    with pytest.raises(BuildError, match="the update from the release before grew") as error:
        line.release(material("12.2", 4_100_000))
    assert "update-growth" in error.value.hint
    line.release(material("12.3", 3_900_000))


def test_every_older_release_has_a_cell_or_nothing_is_signed(line: Line) -> None:
    made = line.material(line.commit("12.1", FIRST))
    older = UpdateFacts(commit="ab" * 32, version="12.0", name="12-0")
    with pytest.raises(BuildError, match="it was not tested for upgrades-from-an-older-release-12-0"):
        line.release(replace(made, updates=(older,)))


def test_a_slower_machine_is_no_growth(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    line.release(line.material(line.commit("12.2", SECOND), boot=120.0, slowness=8.0))


def test_a_boot_that_nobody_measured_is_not_taken_for_a_fast_one(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    material = line.material(line.commit("12.2", SECOND))
    (material.cells[-1][1] / "boots.json").unlink()
    with pytest.raises(
        BuildError,
        match="how long vagrant vagrant-virtualbox takes to boot under uefi-secure was not measured",
    ) as error:
        line.release(material)
    assert "boot-growth" in error.value.hint


def test_a_tree_that_grew(line: Line) -> None:
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    grown = line.commit("12.2", SECOND, {"usr/share/more": bytes(500_000)})
    with pytest.raises(BuildError, match=r"the tree grew from 1\.0 MB to 1\.5 MB"):
        line.release(line.material(grown))


def test_growth_is_held_against_what_hosts_have(line: Line) -> None:
    """Not against a compose that grew, was waived, and never went out."""
    line.release(line.material(line.commit("12.1", FIRST)), day="20261112")
    line.changes["waivers"] = [
        {"criterion": "artifact-growth", "who": "Ada", "why": "known", "until": date(2026, 11, 26)}
    ]
    second = line.commit("12.2", SECOND)
    line.release(line.material(second, grown=200_000), day="20261113")
    del line.changes["waivers"]
    third = line.material(line.commit("12.3", FIRST), grown=200_000)
    with pytest.raises(BuildError, match="more than"):
        line.release(replace(third, previous=line.trees[0]))


def test_two_pieces_of_evidence_whose_names_become_the_same(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    place = material.cells[0][1]
    (place / "a b").write_text("one")
    (place / "a?b").write_text("two")
    with pytest.raises(BuildError, match="is there twice"):
        line.release(material)
    assert ((place / "a b").read_text(), (place / "a?b").read_text()) == ("one", "two")


def test_several_refs_have_one_index(line: Line) -> None:
    place = line.release(line.material(line.commit("12.1", FIRST)))
    other = line.output / "Debian-Atomic-12-20261101.0"
    shutil.copytree(place, other)
    text = (other / facts.FILE).read_text()
    (other / facts.FILE).write_text(
        text.replace(place.name, other.name).replace(REF, "debian/12/x86_64/workstation")
    )
    index.write_index(line.output, line.config)
    assert {place.name, other.name} <= set(
        re.findall(r"Debian-Atomic-12-\d+\.0", (line.output / "index.html").read_text())
    )
    refs = json.loads((line.output / "latest.json").read_text())["refs"]
    assert refs == {REF: place.name, "debian/12/x86_64/workstation": other.name}


def test_evidence_with_odd_names(line: Line) -> None:
    material = line.material(line.commit("12.1", FIRST))
    cell, place = material.cells[0]
    (place / "a <b>\nc").write_text("x")
    made = line.release(
        replace(
            material,
            cells=(
                (replace(cell, state=State.WAIVED, reason="<script>alert(1)</script>"), place),
                *material.cells[1:],
            ),
        )
    )
    assert list((made / "evidence").rglob("a--b--c"))
    assert "<script>" not in (made / "index.html").read_text()


# --- packages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "sign"),
    [
        ("1.10-1", "1.9-1", 1),
        ("1:1.0-1", "2.0-1", 1),
        ("1.0~rc1-1", "1.0-1", -1),
        ("4.5.6-200.fc26", "4.5.6-200.fc26", 0),
        ("1.0-2", "1.0-10", -1),
    ],
)
def test_versions_as_rpm_compares_them(one: str, other: str, sign: int) -> None:
    found = versions.compare_rpm(one, other)
    assert (found > 0) - (found < 0) == sign
