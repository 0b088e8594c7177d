"""Power cuts: a host is recorded on its way, hundreds of disks are rebuilt from the record and looked at, and
the worst of them are booted.
"""

import contextlib
import os
from pathlib import Path

import pytest

from imagebuild.errors import CriteriaError
from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Tree
from imagebuild.smoke import verdict
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.trial import Run, Scope
from imagebuild.stages.smoke import promise_of, smoke_file, subject_of
from imagebuild.tools import write_log
from imagebuild.tools.power_cut import Cut, choose_between, choose_cuts
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.write_log import WriteLog
from tests.vm.power import PHASES, Recording, read_recording, record_a_host, trial_of
from tests.vm.power_checks import KNOWN, UNREPLAYED, Inspector
from tests.vm.rebuilding import rebuilt
from tests.vm.wiring import Lab

pytestmark = pytest.mark.slow
# printed with every run, and in every failure
SEED = int(os.environ.get("IMAGEBUILD_SEED", "16"))
# disks besides those at each flush; and how many are booted
BETWEEN, BOOTED, AT_LEAST = 150, 8, 300
CRITERION = "survives-a-power-cut"


@pytest.fixture(scope="module")
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A host that was recorded; a directory in IMAGEBUILD_RECORDING keeps it between runs."""
    kept = os.environ.get("IMAGEBUILD_RECORDING")
    place = Path(kept) if kept else tmp_path_factory.mktemp("recording")
    if (place / PHASES).exists():
        return read_recording(place)
    lab: Lab = request.getfixturevalue("lab")
    disk = lab.pipeline.disks["cloud"]
    outcome = lab.must(disk, lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    return record_a_host(lab, tree, outcome.value(disk).file, place)


@pytest.fixture(scope="module")
def log(recording: Recording) -> WriteLog:
    """What the host wrote."""
    return write_log.read(recording.log, disk_size=disk_image.virtual_size(recording.disk, "qcow2"))


def phase_of(recording: Recording, cut: Cut) -> str:
    """Return what the host did when its power failed."""
    return next((name for name, end in recording.phases.items() if cut.durable < end), "the end")


def test_every_disk_after_a_power_cut_is_whole(recording: Recording, log: WriteLog, tmp_path: Path) -> None:
    cuts = choose_cuts(log, len(log.flushes()) + BETWEEN, SEED)
    assert len(cuts) >= AT_LEAST
    inspector = Inspector(tmp_path / "mounted")
    wrong, known = list[str](), list[str]()
    for number, (cut, shown, _) in enumerate(rebuilt(recording.disk, log, cuts, tmp_path)):
        if not number:
            inspector.learn(shown)
        said = inspector.problem(shown, lasting=not cut.kept)
        print(f"{number}/{len(cuts)} {phase_of(recording, cut)}, {cut}: {said or 'whole'}", flush=True)
        if said in KNOWN:
            known.append(said)
        elif said is not None:
            wrong.append(f"{phase_of(recording, cut)}, {cut}: {said}")
    # what is seldom must not hide what is wrong
    assert known.count(UNREPLAYED) <= len(cuts) // 50
    counted = {what: known.count(what) for what in KNOWN}
    print(f"{len(cuts)} disks, seed {SEED}: {counted}; {inspector.fscks} repositories read by ostree fsck")
    assert not wrong, f"seed {SEED}: {len(wrong)} of {len(cuts)}: {wrong[:10]}"


def growing(log: WriteLog) -> Cut:
    """Return the cut at the last flush before the other super blocks of a growing xfs are written; those
    of its new parts come before the growth (`GREW`).
    """
    places: list[tuple[int, int]] = []
    with log.file.open("rb") as stream:
        for request in log.requests:
            stream.seek(request.data or 0)
            if request.data is not None and stream.read(4) == b"XFSB":
                places.append((request.start, request.number))
    first = min(places)[0]
    number = max(number for start, number in places if start != first)
    return Cut(durable=max(flush for flush in log.flushes() if flush < number) + 1)


def worst(recording: Recording, log: WriteLog) -> list[Cut]:
    """Return those that lost most: of each phase the worst, and of the rest."""
    cuts = sorted(choose_between(log, 40, SEED), key=lambda cut: cut.lost, reverse=True)
    first = [next((c for c in cuts if phase_of(recording, c) == name), None) for name in recording.phases]
    chosen = [growing(log), *(cut for cut in first if cut is not None)]
    return (chosen + [cut for cut in cuts if cut not in chosen])[:BOOTED]


def test_the_worst_disks_boot(lab: Lab, recording: Recording, log: WriteLog, tmp_path: Path) -> None:
    tree: Tree = lab.must(lab.pipeline.tree).value(lab.pipeline.tree)
    wrong: list[str] = []
    cuts = worst(recording, log)
    assert len(cuts) == BOOTED
    for number, (cut, _, overlay) in enumerate(rebuilt(recording.disk, log, cuts, tmp_path, kept=True)):
        trial = trial_of(lab, tree, overlay, "qcow2", tmp_path / f"boot-{number}", grown=False)
        with guest(trial, trial.evidence) as (_, boot):
            said = boot.problem
            if boot.host is not None:
                boot.host.wait_for_the_boot()
                runs = boot.host.booted().commit
                said = "" if runs in recording.commits.values() else f"{runs} runs"
                answer = boot.host.run("ostree", "fsck", "--repo=/sysroot/ostree/repo", seconds=300)
                said = said or ("" if answer.status == 0 else f"ostree fsck: {answer.output[-300:]}")
                said = said or ", ".join(boot.host.failed_units())
        print(f"{number}: {phase_of(recording, cut)}, {cut}: {said or 'boots'}", flush=True)
        if said:
            wrong.append(f"{phase_of(recording, cut)}, {cut}: {said}")
    assert not wrong, f"seed {SEED}: {wrong}"


def test_the_criterion_passes_on_the_demo(lab: Lab, tmp_path: Path) -> None:
    disk = lab.pipeline.disks["cloud"]
    outcome = lab.must(disk, lab.pipeline.tree)
    tree: Tree = outcome.value(lab.pipeline.tree)
    subject = subject_of(
        "Cloud", Unpacked(disk=outcome.value(disk).file, format="raw", controller=Controller.VIRTIO)
    )
    terms = lab.terms(storage=lab.settings.storage)
    scope = Scope(criteria=(CRITERION,), repo=tree.repo, machine_ids=("f" * 32,))
    with contextlib.suppress(CriteriaError):
        smoke_file(
            tmp_path,
            tree,
            subject,
            promise_of(tree, (), terms),
            Run(bench=lab.bench(Firmware.BIOS), scope=scope),
        )
    (cell,) = verdict.read(tmp_path / verdict.FILE)
    print(cell)
    assert (cell.criterion, cell.state) == (CRITERION, State.PASSED), cell.reason
