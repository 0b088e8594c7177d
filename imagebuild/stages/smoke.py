"""Boot an artifact under one firmware and test it against the release criteria; the result is a verdict, or
the step fails.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from imagebuild import steplog
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.formats.format import Unpacked
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller, State
from imagebuild.model import Cell, Delta, Disk, Image, Installation, Tree, Verdict
from imagebuild.smoke import installation as installer
from imagebuild.smoke import verdict
from imagebuild.smoke.attempts import run_criteria
from imagebuild.smoke.cells import disk_digest
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.identity import Carrier, References, same_machine
from imagebuild.smoke.inapplicable import not_applicable, reason_not_to_boot
from imagebuild.smoke.trial import Previous, Promise, Run, Subject, Terms, Trial
from imagebuild.smoke.waivers import FIT, waived
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu import disk_image

MIB = 1024 * 1024
# how much larger than the artifact the disk is on which it is tested: users have larger ones
GROWN = 1024 * MIB


def smoke_test(
    out: Path, tree: Tree, image: Image, disk: Disk, references: tuple[Verdict, ...],
    previous: tuple[Tree, ...], deltas: tuple[Delta, ...], terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Unpack a download as its users would, boot it and run the criteria under pytest in a process of its
    own.

    What `references` say of the installed `disk` is carried over where the download holds the very same disk;
    one that was booted on the same machine under the same firmware is not booted again.
    Raises CriteriaError when a cell is not fit for release (the evidence is kept), BuildError when the
    criteria did not run at all.
    """
    work = out / "unpacked"
    work.mkdir()
    try:
        unpacked = FORMATS[image.format].unpack(image.file, work)
        proof = _prove_same(unpacked, disk) if references else None
        same = References() if proof is None else References(verdicts=references, proof=proof)
        subject = subject_of(image.name, unpacked, source=image.file)
        promise = promise_of(tree, previous, terms, deltas)
        run = _with_deltas(run, deltas)
        booted = same.booted(run.bench.firmware)
        if booted is not None and same_machine(subject, subject_of(image.name, _as_installed(disk))):
            return _booted_before(out, subject, promise, run, booted, same.proof)
        return _test(out, tree, subject, promise, run, same)
    finally:
        shutil.rmtree(work)


def smoke_disk(
    out: Path, tree: Tree, disk: Disk, name: str, references: tuple[Verdict, ...], previous: tuple[Tree, ...],
    deltas: tuple[Delta, ...], terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Boot the installed disk itself, while its downloads are still being compressed. Raises as `smoke_test`.

    `references` are its verdicts under other firmware: what reads only the disk is not tested again.
    """
    same = References(verdicts=references, proof="it is the same file")
    promise = promise_of(tree, previous, terms, deltas)
    subject = subject_of(name, _as_installed(disk), source=disk.file)
    return _test(out, tree, subject, promise, _with_deltas(run, deltas), same)


def _as_installed(disk: Disk) -> Unpacked:
    """Return an installed disk as it is booted itself."""
    controller = Controller.VIRTIO if disk.sector_size == 512 else Controller.NVME_4K
    return Unpacked(disk=disk.file, format=disk.format, controller=controller)


def smoke_installation(
    out: Path, tree: Tree, installation: Installation, previous: tuple[Tree, ...],
    deltas: tuple[Delta, ...], terms: Terms, run: Run,
) -> Verdict:  # fmt: skip
    """Boot the disk that an ISO has installed, under the same firmware; the installation itself is the first
    cell. Raises as `smoke_test`.
    """
    boot = Unpacked(disk=installation.disk, format="qcow2", controller=Controller.VIRTIO)
    # the disk that it was installed on is the one it has
    subject = subject_of(installation.iso, boot, grow=0, source=installation.disk)
    promise = promise_of(tree, previous, terms, deltas)
    tested = _test(out, tree, subject, promise, _with_deltas(run, deltas), References())
    for file in sorted(path for path in installation.evidence.rglob("*") if path.is_file()):
        name = "-".join(file.relative_to(installation.evidence).parts)
        shutil.copyfile(file, out / "evidence" / f"installer-{name}")
    return replace(tested, cells=(_installed(installation), *tested.cells))


def _installed(installation: Installation) -> Cell:
    hung, note = installation.evidence / installer.HUNG, ""
    if hung.exists():
        first = hung.read_text().splitlines()[0]
        note = f"it was started again, by another QEMU: {first}"
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


def subject_of(artifact: str, boot: Unpacked, *, grow: int = GROWN, source: Path | None = None) -> Subject:
    """Return an unpacked disk as a subject; `source` is the artifact that it was unpacked from."""
    return Subject(
        artifact=artifact,
        disk=boot.disk,
        format=boot.format,
        controller=boot.controller,
        size=boot.size,
        grow=grow,
        source=source,
    )


def promise_of(
    tree: Tree, previous: Sequence[Tree], terms: Terms, deltas: Sequence[Delta] = (), *,
    commit_given: bool = True,
) -> Promise:  # fmt: skip
    """Return what a tree is released as: of `previous` the first of the same ref is the release before, one
    of another ref is of the release line before.
    """
    repo = _repo_with(tree)
    digests = {delta.base: delta.digest for delta in deltas}
    same = [older for older in previous if older.follows == tree.follows]
    line = next((older for older in previous if older.follows != tree.follows), None)
    return Promise(
        terms=terms,
        commit=tree.commit,
        version=tree.version,
        ref=tree.follows,
        host_kind=tree.host_kind,
        atomic=repo is not None and Repo(repo).has_atomic(tree.commit),
        previous=_previous(same[0], digests) if same else None,
        commit_given=commit_given,
        older=tuple(
            _previous(older, digests, name=name)
            for older, name in zip(same[1:], terms.older_releases, strict=True)
        ),
        line=_previous(line, digests, ref=line.follows) if line is not None else None,
    )


def _previous(tree: Tree, digests: Mapping[str, str], *, name: str = "", ref: str = "") -> Previous:
    return Previous(
        commit=tree.commit, version=tree.version, name=name, ref=ref, delta=digests.get(tree.commit, "")
    )


def _with_deltas(run: Run, deltas: Sequence[Delta]) -> Run:
    return replace(run, scope=replace(run.scope, deltas=tuple(delta.place for delta in deltas)))


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
    carrier = Carrier(artifact=subject.artifact, firmware=firmware, evidence=evidence, proof=same.proof)
    # what was found under the same firmware comes first
    for reference in sorted(same.verdicts, key=lambda one: one.cells[0].firmware is not firmware):
        cells = (*cells, *carrier.carry(reference, cells))
    return _judge(out, subject, promise, run, cells)


def _booted_before(
    out: Path, subject: Subject, promise: Promise, run: Run, booted: Verdict, proof: str
) -> Verdict:
    """Return the verdict on a disk that was booted on this very machine, as another artifact."""
    evidence = out / "evidence"
    evidence.mkdir()
    carrier = Carrier(
        artifact=subject.artifact,
        firmware=run.bench.firmware,
        evidence=evidence,
        proof=proof,
        whole=True,
    )
    steplog.note(carrier.say(booted.cells[0]))
    carrier.carry_boot(booted)
    return _judge(out, subject, promise, run, carrier.carry(booted, ()))


def _judge(out: Path, subject: Subject, promise: Promise, run: Run, cells: Sequence[Cell]) -> Verdict:
    """Write the verdict. Raises CriteriaError when it has a cell that is not fit for release."""
    cells = tuple(waived(cell, promise.terms.waivers) for cell in cells)
    verdict.write(out / verdict.FILE, cells)
    if bad := [f"{cell.criterion} ({cell.state})" for cell in cells if cell.state not in FIT]:
        raise CriteriaError(
            f"{subject.artifact} under {run.bench.firmware} does not pass: {', '.join(bad)}",
            hint="the evidence says why",
            evidence=out,
        )
    return Verdict(cells=cells, evidence=out / "evidence")


def _tested(out: Path, trial: Trial) -> tuple[Cell, ...]:
    reason = reason_not_to_boot(trial)
    if reason is None:
        return tuple(run_criteria(out, trial))
    steplog.note(f"not applicable: {reason}")
    older = [each.name for each in trial.promise.older]
    own = [site.name for site in trial.promise.terms.site]
    wanted = trial.scope.criteria or criteria.required(atomic=trial.promise.atomic, older=older, site=own)
    return tuple(not_applicable(trial, wanted, reason))


def _trial(
    tree: Tree, subject: Subject, promise: Promise, run: Run, evidence: Path, same: References
) -> Trial:
    guests = run.bench.accelerator.arch
    if tree.arch != guests:
        raise BuildError(
            f"the tree is for {tree.arch}, and guests are of {guests}",
            hint="correct `arch` in the configuration",
        )
    return Trial(
        subject=replace(subject, digest=disk_digest(subject.disk, subject.format)),
        bench=run.bench.suited(tree.isa),
        promise=promise,
        scope=same.scope(replace(run.scope, repo=_repo_with(tree)), run.bench.firmware),
        evidence=evidence,
    )
