"""The same disk on the same machine is booted once, and that is said; whatever differs is booted.

The disks are real ones of qemu-img's, compared by it.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuild.errors import CriteriaError
from imagebuild.formats import qcow2
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Cell, Disk, Image, Verdict, Waiver
from imagebuild.report.matrix import arrange
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.identity import BOOTS, SAME, same_machine
from imagebuild.smoke.trial import Run, Trial
from imagebuild.smoke.verdict import FILE, write
from imagebuild.stages import smoke
from imagebuild.tools import command
from tests.bench.boots import Booted, table
from tests.smoke import trials
from tests.stages.trees import TREE

SIZE = 8 << 20
INSIDE = "disk cloud"
BENCH = replace(trials.TRIAL.bench, firmware=Firmware.UEFI)


def cell(criterion: str, state: State = State.PASSED, firmware: Firmware = Firmware.UEFI) -> Cell:
    return Cell(
        criterion=criterion,
        artifact=INSIDE,
        firmware=firmware,
        state=state,
        reason="",
        evidence=f"{criterion}.log",
        seconds=9.0,
    )


def verdict(place: Path, *cells: Cell) -> Verdict:
    """Return what was found of the installed disk, with what its first boot has left."""
    place.mkdir()
    boots = [{"name": "first", "phases": {"ssh": 60.0}, "problem": ""}, {"name": "upgraded", "phases": {}}]
    (place / BOOTS).write_text(json.dumps(boots))
    (place / "journal.txt").write_text("Command line: x\n")
    (place / "upgraded-serial.log").write_text("not of the first boot\n")
    for one in cells:
        (place / one.evidence).write_text(f"$ {one.criterion}\n")
    return Verdict(cells=cells, evidence=place)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An installed disk."""
    file = tmp_path / "disk.raw"
    file.write_bytes(b"GRUB" + bytes(SIZE - 8) + b"end.")
    return Disk(file=file, size=SIZE, firmware=frozenset(Firmware), format="raw", populated="x")


@pytest.fixture
def download(tmp_path: Path, disk: Disk) -> Image:
    """The same disk as it is downloaded."""
    file = tmp_path / "a.qcow2"
    command.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk.file, file])
    return Image(file=file, format="qcow2", sha256="0" * 64, size=9, disk_size=SIZE, name="qcow2 cloud")


def tried(
    out: Path, download: Image, disk: Disk, *references: Verdict, waivers: tuple[Waiver, ...] = ()
) -> Verdict:
    out.mkdir()
    terms = replace(trials.TERMS, waivers=waivers)
    return smoke.smoke_test(out, TREE, download, disk, references, (), (), terms, Run(bench=BENCH))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    """The trials for which criteria are run, and guests booted."""
    trials: list[Trial] = []

    def run(out: Path, trial: Trial) -> tuple[Cell, ...]:
        trials.append(trial)
        booting = [name for name in criteria.names() if criteria.CRITERIA[name].boots]
        return tuple(
            replace(cell(name), artifact=trial.subject.artifact, firmware=trial.bench.firmware)
            for name in booting
        )

    monkeypatch.setattr(smoke, "run_criteria", run)
    return trials


def test_the_same_disk_on_the_same_machine_is_not_booted_again(
    tmp_path: Path, disk: Disk, download: Image, asked: list[Trial]
) -> None:
    reference = verdict(tmp_path / "reference", cell("artifact-boots"), cell("upgrades-to-the-next-release"))
    found = tried(tmp_path / "out", download, disk, reference)
    assert asked == []
    assert {(one.criterion, one.artifact, one.state) for one in found.cells} == {
        ("artifact-boots", "qcow2 cloud", State.PASSED),
        ("upgrades-to-the-next-release", "qcow2 cloud", State.PASSED),
    }
    for one in found.cells:
        assert (one.carried, one.same_as, one.seconds) == (True, INSIDE, 0.0)
        assert "the same disk as disk cloud on the same machine, booted once for both" in one.reason
        assert "Images are identical" in one.reason
        assert f"$ {one.criterion}" in (found.evidence / one.evidence).read_text()
    assert "booted once for both" in (found.evidence / SAME).read_text()
    (boot,) = json.loads((found.evidence / BOOTS).read_text())
    assert (boot["of"], boot["phases"]) == (INSIDE, {"ssh": 60.0})
    assert "the boot of disk cloud" in boot["note"]
    assert (found.evidence / "journal.txt").exists()
    assert not (found.evidence / "upgraded-serial.log").exists()
    (sentence,) = arrange(found.cells, lambda _: "").once
    assert sentence.startswith("qcow2 cloud (uefi): the same disk as disk cloud")


def test_a_boot_is_counted_where_it_was(tmp_path: Path, disk: Disk, download: Image) -> None:
    store = tmp_path / "store"
    place, copied = (store / "artifacts" / "smoke.x" / key for key in ("0", "1"))
    place.mkdir(parents=True)
    reference = verdict(place / "out", cell("artifact-boots"))
    (place / "out" / "evidence").mkdir()
    (place / "out" / BOOTS).rename(place / "out" / "evidence" / BOOTS)
    write(place / "out" / FILE, reference.cells)
    copied.mkdir()
    tried(copied / "out", download, disk, replace(reference, evidence=place / "out" / "evidence"))
    (store / "builds").mkdir()
    used = {"disk": ("smoke.x", "0"), "qcow2": ("smoke.x", "1"), "tree": ("pull", "2")}
    (store / "builds" / "1.json").write_text(json.dumps(used))
    assert table(store) == [
        Booted(INSIDE, "uefi", now=2, before=2, same_as=""),
        Booted("qcow2 cloud", "uefi", now=0, before=1, same_as=INSIDE),
    ]
    assert table(tmp_path / "nothing") == []


def test_known_under_another_firmware_only_it_is_booted(
    tmp_path: Path, disk: Disk, download: Image, asked: list[Trial]
) -> None:
    reference = verdict(tmp_path / "reference", cell("tmp", firmware=Firmware.BIOS))
    found = tried(tmp_path / "out", download, disk, reference)
    (trial,) = asked
    assert trial.scope.known is not None
    assert trial.scope.known.other_firmware
    assert {one.same_as for one in found.cells} == {""}
    assert arrange(found.cells, lambda _: "").once == ()


def test_another_disk_is_booted_and_tested(
    tmp_path: Path, disk: Disk, download: Image, asked: list[Trial]
) -> None:
    reference = verdict(tmp_path / "reference", cell("artifact-boots"))
    disk.file.write_bytes(b"grub" + bytes(SIZE - 8) + b"end.")
    tried(tmp_path / "out", download, disk, reference)
    (trial,) = asked
    assert trial.scope.known is None


@pytest.mark.parametrize("changed", [{"controller": Controller.IDE}, {"size": 2 * SIZE}])
def test_on_another_machine_it_is_booted_and_only_that_is_tested(
    tmp_path: Path,
    disk: Disk,
    download: Image,
    asked: list[Trial],
    changed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unpack = qcow2.FORMAT.unpack
    as_other = replace(qcow2.FORMAT, unpack=lambda file, out: replace(unpack(file, out), **changed))
    monkeypatch.setitem(FORMATS._records, "qcow2", as_other)
    reference = verdict(tmp_path / "reference", cell("artifact-boots"), cell("tmp"))
    found = tried(tmp_path / "out", download, disk, reference)
    (trial,) = asked
    assert trial.scope.known is not None
    assert not trial.scope.known.other_firmware
    assert {one.criterion for one in found.cells if one.carried} == {"tmp"}


def test_a_waiver_of_the_disk_is_none_of_its_download(
    tmp_path: Path, disk: Disk, download: Image, asked: list[Trial]
) -> None:
    broken = replace(cell("tmp", State.WAIVED), found=State.FAILED, reason="waived by Ada: bug 1")
    reference = verdict(tmp_path / "reference", cell("artifact-boots"), broken)
    with pytest.raises(CriteriaError, match=r"qcow2 cloud under uefi does not pass: tmp \(failed\)"):
        tried(tmp_path / "out", download, disk, reference)
    waiver = Waiver(
        criterion="tmp", artifact="*", firmware=None, who="A", why="b", until="2030-01-01", expired=False
    )
    found = tried(tmp_path / "other", download, disk, reference, waivers=(waiver,))
    assert {one.state for one in found.cells} == {State.PASSED, State.WAIVED}
    assert asked == []


def test_whatever_a_guest_could_see_makes_another_machine(tmp_path: Path) -> None:
    subject = replace(trials.TRIAL.subject, size=SIZE)
    other = replace(subject, artifact="b", disk=tmp_path, format="qcow2", digest="1")
    assert same_machine(subject, other)
    for seen in (
        replace(other, controller=Controller.PVSCSI),
        replace(other, size=1),
        replace(other, grow=1),
    ):
        assert not same_machine(subject, seen)
