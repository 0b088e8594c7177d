"""Boot an artifact under one firmware and test it against the release criteria; the result is a verdict, or
the step fails.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import CriteriaError
from imagebuild.formats.format import Unpacked
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.model import Cell, Disk, Image, Installation, Tree, Verdict
from imagebuild.smoke import installation as installer
from imagebuild.smoke import verdict
from imagebuild.smoke.attempts import run_criteria
from imagebuild.smoke.cells import disk_digest
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.inapplicable import not_applicable, reason_not_to_boot
from imagebuild.smoke.trial import Known, Previous, Promise, Run, Scope, Subject, Terms, Trial
from imagebuild.smoke.waivers import FIT, waived
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu import disk_image

MIB = 1024 * 1024
# how much larger than the artifact the disk is on which it is tested: users have larger ones
GROWN = 1024 * MIB


@dataclass(frozen=True, kw_only=True)
class References:
    """Verdicts on the same disk, and the proof that it is the same."""

    verdicts: tuple[Verdict, ...] = ()
    proof: str = ""

    def scope(self, scope: Scope, firmware: Firmware) -> Scope:
        """Return what there is still to ask."""
        if not self.verdicts:
            return scope
        cells = [cell for reference in self.verdicts for cell in reference.cells]
        files = [reference.evidence / "machine-id" for reference in self.verdicts]
        known = Known(other_firmware=all(cell.firmware is not firmware for cell in cells))
        ids = tuple(file.read_text().strip() for file in files if file.exists())
        return replace(scope, known=known, machine_ids=ids)


def smoke_test(
    out: Path, tree: Tree, image: Image, disk: Disk, references: tuple[Verdict, ...],
    previous: tuple[Tree, ...], terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Unpack a download as its users would, boot it and run the criteria under pytest in a process of its
    own.

    What `references` say of the installed `disk` is carried over where the download holds the very same disk.
    Raises CriteriaError when a cell is not fit for release (the evidence is kept), BuildError when the
    criteria did not run at all.
    """
    work = out / "unpacked"
    work.mkdir()
    try:
        unpacked = FORMATS[image.format].unpack(image.file, work)
        proof = _prove_same(unpacked, disk) if references else None
        same = References() if proof is None else References(verdicts=references, proof=proof)
        promise = promise_of(tree, previous, terms)
        return _test(out, tree, subject_of(image.name, unpacked), promise, run, same)
    finally:
        shutil.rmtree(work)


def smoke_disk(
    out: Path, tree: Tree, disk: Disk, name: str, references: tuple[Verdict, ...], previous: tuple[Tree, ...],
    terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Boot the installed disk itself, while its downloads are still being compressed. Raises as `smoke_test`.

    `references` are its verdicts under other firmware: what reads only the disk is not tested again.
    """
    controller = Controller.VIRTIO if disk.sector_size == 512 else Controller.NVME_4K
    boot = Unpacked(disk=disk.file, format=disk.format, controller=controller)
    same = References(verdicts=references, proof="it is the same file")
    promise = promise_of(tree, previous, terms)
    return _test(out, tree, subject_of(name, boot), promise, run, same)


def smoke_installation(
    out: Path, tree: Tree, installation: Installation, previous: tuple[Tree, ...],
    terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Boot the disk that an ISO has installed, under the same firmware; the installation itself is the first
    cell. Raises as `smoke_test`.
    """
    boot = Unpacked(disk=installation.disk, format="qcow2", controller=Controller.VIRTIO)
    # the disk that it was installed on is the one it has
    subject = subject_of(installation.iso, boot, grow=0)
    tested = _test(out, tree, subject, promise_of(tree, previous, terms), run, References())
    for file in sorted(path for path in installation.evidence.rglob("*") if path.is_file()):
        name = "-".join(file.relative_to(installation.evidence).parts)
        shutil.copyfile(file, out / "evidence" / f"installer-{name}")
    return replace(tested, cells=(_installed(installation), *tested.cells))


def _installed(installation: Installation) -> Cell:
    hung, note = installation.evidence / installer.HUNG, ""
    if hung.exists():
        first = hung.read_text().splitlines()[0]
        note = f"it hung at first, and was started again by another QEMU: {first}"
    return Cell(
        criterion=criteria.INSTALLS,
        artifact=installation.iso,
        firmware=installation.firmware,
        state=State.PASSED,
        reason=note,
        evidence=f"installer-{installer.main_log(installation.evidence)}",
        seconds=installation.phases.get("off", 0.0),
    )


def smoke_file(out: Path, tree: Tree, subject: Subject, promise: Promise, run: Run) -> Verdict:
    """Test any disk against the criteria, or some of them. Raises as `smoke_test`."""
    return _test(out, tree, subject, promise, run, References())


def subject_of(artifact: str, boot: Unpacked, *, grow: int = GROWN) -> Subject:
    """Return an unpacked disk as a subject."""
    return Subject(
        artifact=artifact,
        disk=boot.disk,
        format=boot.format,
        controller=boot.controller,
        size=boot.size,
        grow=grow,
    )


def promise_of(tree: Tree, previous: Sequence[Tree], terms: Terms, *, commit_given: bool = True) -> Promise:
    """Return what a tree is released as."""
    repo = _repo_with(tree)
    return Promise(
        terms=terms,
        commit=tree.commit,
        version=tree.version,
        ref=tree.follows,
        host_kind=tree.host_kind,
        atomic=repo is not None and Repo(repo).has_atomic(tree.commit),
        previous=next((Previous(commit=older.commit, version=older.version) for older in previous), None),
        commit_given=commit_given,
    )


def _repo_with(tree: Tree) -> Path | None:
    return tree.repo if tree.repo.is_dir() and Repo(tree.repo).has(tree.commit) else None


def _prove_same(boot: Unpacked, disk: Disk) -> str | None:
    """Compare a download's disk with the installed one, byte by byte; return what says that they are the
    same, or None.
    """
    identical, said = disk_image.compare(boot.disk, boot.format, disk.file, disk.format)
    steplog.note(f"qemu-img compare with the installed disk: {said}")
    return said if identical else None


def _test(out: Path, tree: Tree, subject: Subject, promise: Promise, run: Run, same: References) -> Verdict:
    evidence = out / "evidence"
    evidence.mkdir()
    trial = _trial(tree, subject, promise, run, evidence, same)
    firmware = trial.bench.firmware
    cells = _tested(out, trial)
    # what was found under the same firmware comes first
    for reference in sorted(same.verdicts, key=lambda one: one.cells[0].firmware is not firmware):
        cells = (*cells, *_carried(reference, trial, cells, same.proof))
    cells = tuple(waived(cell, promise.terms.waivers) for cell in cells)
    verdict.write(out / verdict.FILE, cells)
    if bad := [f"{cell.criterion} ({cell.state})" for cell in cells if cell.state not in FIT]:
        raise CriteriaError(
            f"{subject.artifact} under {firmware} does not pass: {', '.join(bad)}",
            hint="the evidence says why",
            evidence=out,
        )
    return Verdict(cells=cells, evidence=evidence)


def _tested(out: Path, trial: Trial) -> tuple[Cell, ...]:
    reason = reason_not_to_boot(trial)
    if reason is None:
        return tuple(run_criteria(out, trial))
    steplog.note(f"not applicable: {reason}")
    wanted = trial.scope.criteria or criteria.required(atomic=trial.promise.atomic)
    return tuple(not_applicable(trial, wanted, reason))


def _trial(
    tree: Tree, subject: Subject, promise: Promise, run: Run, evidence: Path, same: References
) -> Trial:
    return Trial(
        subject=replace(subject, digest=disk_digest(subject.disk, subject.format)),
        bench=run.bench.suited(tree.isa),
        promise=promise,
        scope=same.scope(replace(run.scope, repo=_repo_with(tree)), run.bench.firmware),
        evidence=evidence,
    )


def _carried(reference: Verdict, trial: Trial, tested: Sequence[Cell], proof: str) -> list[Cell]:
    """Return the cells of an artifact with the same disk, for what was not tested here; the proof stands in
    each, and in its evidence.
    """
    names = {cell.criterion for cell in tested}
    carried = []
    for cell in reference.cells:
        if cell.criterion in names:
            continue
        text = (
            f"carried over by identity from {cell.artifact} ({cell.firmware}): the same disk, byte by byte"
            f" ({proof.strip()})"
        )
        log = trial.evidence / f"{cell.criterion}.log"
        source = reference.evidence / cell.evidence
        log.write_bytes(f"# {text}\n".encode() + (source.read_bytes() if source.exists() else b""))
        # a waiver is for the artifact it names
        here = replace(
            cell,
            artifact=trial.subject.artifact,
            firmware=trial.bench.firmware,
            state=cell.found or cell.state,
            found=None,
            carried=True,
            evidence=log.name,
            reason=f"{cell.reason}; {text}" if cell.reason else text,
            seconds=0.0,
        )
        carried.append(here)
    return carried
