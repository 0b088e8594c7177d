"""Boot an artifact under one firmware and hold it against the release criteria; the result is a verdict, or
the step fails.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import steplog
from imagebuild.config.smoke import SmokeConfig
from imagebuild.engine.steps import source_digest
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.formats import Unpacked
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller, Firmware, Login, State
from imagebuild.model import Cell, Disk, Image, Installation, Tree, Verdict, Waiver
from imagebuild.smoke import criteria
from imagebuild.smoke import installation as installer
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.cells import disk_digest
from imagebuild.smoke.rig import Previous, Rig, rig_to_json
from imagebuild.smoke.waivers import FIT, waived
from imagebuild.tools import command, load, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.qemu import disk_image

MIB = 1024 * 1024
# pytest(1): all passed, some failed, none to run (all were known already); anything else is trouble of its
# own
FINE = (0, 1, 5)
# how much larger than the artifact the disk is on which it is tested: users have larger ones
GROWN = 1024 * MIB
# how often the rig may break: each time the machine is let come to rest first
RIG_TRIES = 2


def criteria_digest() -> str:
    """Return the sha256 of the criteria and of what they check storage with.

    pytest finds them by name, not by an import of this module: without this in the key a changed criterion
    would keep old verdicts.
    """
    package = Path(__file__).parent.parent
    found = [
        source
        for name in ("smoke/criteria", "smoke/storage")
        for source in sorted((package / name).glob("*.py"))
    ]
    digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in found]
    return hashlib.sha256(
        "".join([*digests, source_digest("imagebuild.smoke.criteria.plugin")]).encode()
    ).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SmokeSpec:
    """Under which firmware, who lets the tester in, with what promised storage, the remote of upgrades and
    its URL, and which criteria.

    `messages` are patterns of journal and console that are known and allowed today; `why_no_previous` says
    why there is no release before, which is known to be so for a `first_release` only.
    """

    firmware: Firmware
    login: Login
    storage: str
    remote: str
    update_url: str
    guest: SmokeConfig
    update_verify: bool = True
    waivers: tuple[Waiver, ...] = ()
    messages: tuple[str, ...] = ()
    why_no_previous: str = ""
    first_release: bool = False
    criteria: str = field(default_factory=criteria_digest)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where guests run, and where finished cells are kept between runs (None: nowhere). Does not change what
    is found.
    """

    accelerator: Accelerator
    cells: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is tested: its name, the disk a user's hypervisor would boot, and how much larger the test makes
    it.

    `machine_ids` are those of other hosts made from the same image; without them another one is booted.
    `criteria`: only these.
    """

    artifact: str
    boot: Unpacked
    grow: int = GROWN
    criteria: tuple[str, ...] = ()
    machine_ids: tuple[str, ...] = ()
    commit_given: bool = True


def smoke_test(
    out: Path,
    tree: Tree,
    image: Image,
    disk: Disk,
    references: tuple[Verdict, ...],
    previous: tuple[Tree, ...],
    spec: SmokeSpec,
    bench: Bench,
) -> Verdict:
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
        proof = _proof(unpacked, disk) if references else ""
        return _test(
            out,
            Subject(artifact=image.name, boot=unpacked),
            tree,
            previous,
            spec,
            bench,
            references if proof else (),
            proof,
        )
    finally:
        shutil.rmtree(work)


def smoke_disk(
    out: Path,
    tree: Tree,
    disk: Disk,
    name: str,
    references: tuple[Verdict, ...],
    previous: tuple[Tree, ...],
    spec: SmokeSpec,
    bench: Bench,
) -> Verdict:
    """Boot the installed disk itself, while its downloads are still being compressed. Raises as `smoke_test`.

    `references` are its verdicts under other firmware: what reads only the disk is not tested again.
    """
    boot = Unpacked(disk=disk.file, format=disk.format, controller=Controller.VIRTIO)
    return _test(
        out,
        Subject(artifact=name, boot=boot),
        tree,
        previous,
        spec,
        bench,
        references,
        "it is the same file" if references else "",
    )


def smoke_installation(
    out: Path,
    tree: Tree,
    installation: Installation,
    previous: tuple[Tree, ...],
    spec: SmokeSpec,
    bench: Bench,
) -> Verdict:
    """Boot the disk that an ISO has installed, under the same firmware; the installation itself is the first
    cell. Raises as `smoke_test`.
    """
    boot = Unpacked(disk=installation.disk, format="qcow2", controller=Controller.VIRTIO)
    evidence = out / "evidence"
    # the disk that it was installed on is the one it has
    verdict = _test(out, Subject(artifact=installation.iso, boot=boot, grow=0), tree, previous, spec, bench)
    for file in sorted(path for path in installation.evidence.rglob("*") if path.is_file()):
        shutil.copyfile(
            file, evidence / f"installer-{'-'.join(file.relative_to(installation.evidence).parts)}"
        )
    hung = installation.evidence / installer.HUNG
    note = (
        f"it hung at first, and was started again by another QEMU: {hung.read_text().splitlines()[0]}"
        if hung.exists()
        else ""
    )
    cell = Cell(
        criterion=criteria.INSTALLS,
        artifact=installation.iso,
        firmware=installation.firmware,
        state=State.PASSED,
        reason=note,
        evidence=f"installer-{installer.main_log(installation.evidence)}",
        seconds=installation.phases.get("off", 0.0),
    )
    return replace(verdict, cells=(cell, *verdict.cells))


def smoke_file(
    out: Path, tree: Tree, subject: Subject, previous: tuple[Tree, ...], spec: SmokeSpec, bench: Bench
) -> Verdict:
    """Hold any disk against the criteria, or some of them. Raises as `smoke_test`."""
    return _test(out, subject, tree, previous, spec, bench)


def _proof(boot: Unpacked, disk: Disk) -> str:
    """Compare a download's disk with the installed one, byte by byte; return what says that they are the
    same, or nothing.
    """
    identical, said = disk_image.compare(boot.disk, boot.format, disk.file, disk.format)
    steplog.note(f"qemu-img compare with the installed disk: {said}")
    return said if identical else ""


def _test(
    out: Path,
    subject: Subject,
    tree: Tree,
    previous: tuple[Tree, ...],
    spec: SmokeSpec,
    bench: Bench,
    references: Sequence[Verdict] = (),
    proof: str = "",
) -> Verdict:
    evidence = out / "evidence"
    evidence.mkdir()
    rig = _rig(subject, tree, previous, spec, bench, evidence)
    if references:
        bound_too = not _same_firmware(references, spec.firmware)
        rig = replace(rig, boot_only=True, bound_too=bound_too, machine_ids=_machine_ids(references))
    cells = _run(out, rig, spec.guest.tries)
    # what was found under the same firmware comes first
    for reference in sorted(references, key=lambda each: each.cells[0].firmware is not spec.firmware):
        cells = (*cells, *_carried(reference, rig, cells, proof))
    cells = tuple(waived(cell, spec.waivers) for cell in cells)
    (out / "verdict.json").write_text(
        TypeAdapter(tuple[Cell, ...]).dump_json(cells, indent=1).decode() + "\n"
    )
    bad = [cell for cell in cells if cell.state not in FIT]
    if bad:
        names = ", ".join(f"{cell.criterion} ({cell.state})" for cell in bad)
        raise CriteriaError(
            f"{subject.artifact} under {spec.firmware} does not hold: {names}",
            hint="the evidence says why",
            evidence=out,
        )
    return Verdict(cells=cells, evidence=evidence)


def _rig(
    subject: Subject, tree: Tree, previous: tuple[Tree, ...], spec: SmokeSpec, bench: Bench, evidence: Path
) -> Rig:
    boot, guest = subject.boot, spec.guest
    repo = tree.repo if tree.repo.is_dir() and Repo(tree.repo).has(tree.commit) else None
    accelerator = bench.accelerator.suited(tree.isa, guest.cpu)
    return Rig(
        disk=boot.disk,
        disk_format=boot.format,
        controller=boot.controller,
        artifact=subject.artifact,
        firmware=spec.firmware,
        login=spec.login,
        commit=tree.commit,
        version=tree.version,
        refspec=f"{spec.remote}:{tree.follows}",
        host_kind=tree.host_kind,
        user=guest.user,
        cores=guest.cores or accelerator.cores,
        memory=guest.memory * MIB,
        storage=spec.storage,
        update_url=spec.update_url,
        update_verify=spec.update_verify,
        accelerator=accelerator,
        evidence=evidence,
        allowed_failed_units=tuple(guest.failed_units_allowed),
        allowed_messages=spec.messages,
        disk_size=boot.size,
        grow=subject.grow,
        repo=repo,
        previous=next((Previous(commit=each.commit, version=each.version) for each in previous), None),
        why_no_previous=spec.why_no_previous,
        first_release=spec.first_release,
        atomic=repo is not None and Repo(repo).has_atomic(tree.commit),
        criteria=subject.criteria,
        machine_ids=subject.machine_ids,
        commit_given=subject.commit_given,
        cells=bench.cells,
        identity=disk_digest(boot.disk, boot.format),
    )


def _run(out: Path, rig: Rig, tries: int) -> tuple[Cell, ...]:
    """Run the criteria; what failed is tried again on another guest, so that chance is told from defect: that
    cell is flaky then.

    A rig that broke says nothing of the product: it is no try, and what passes after it is no less than
    passed.
    """
    failures = errors = attempts = 0
    # without a place to keep cells between runs, one for this run
    kept = out / "cells"
    while True:
        cells = _run_once(out, replace(rig, cells=rig.cells or kept))
        attempts += 1
        states = {cell.state for cell in cells}
        failures, errors = failures + (State.FAILED in states), errors + (State.ERROR in states)
        if not states & {State.FAILED, State.ERROR} or failures >= max(1, tries) or errors >= RIG_TRIES:
            break
        steplog.note("trying again what did not pass, on another guest")
        if any(cell.state is State.ERROR and STARVED in cell.reason for cell in cells):
            load.wait_for_quiet(rig.cores)
        _set_aside(rig.evidence, f"try-{attempts}")
    shutil.rmtree(kept, ignore_errors=True)
    return cells


def _set_aside(evidence: Path, name: str) -> None:
    """Move what there is of evidence into a directory of its own: the next try would write over it."""
    target = evidence / name
    target.mkdir()
    for place in [each for each in evidence.iterdir() if not each.name.startswith("try-")]:
        place.rename(target / place.name)


def _run_once(out: Path, rig: Rig) -> tuple[Cell, ...]:
    (out / "rig.json").write_text(rig_to_json(rig))
    (out / "pytest.ini").write_text("[pytest]\n")
    # seen from where it runs: pytest replaces variables in a --rootdir (8.3, config/findpaths.py,
    # determine_setup)
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "imagebuild.smoke.criteria.plugin",
        "-c",
        "pytest.ini",
        "--rootdir",
        ".",
        "-p",
        "no:cacheprovider",
        "--color=no",
        "-v",
        "-rN",
        "--tb=short",
        "--pyargs",
        "imagebuild.smoke.criteria",
        "--rig",
        out / "rig.json",
    ]
    try:
        with temporary.for_child("criteria") as environment:
            command.run(
                argv, accept=FINE, cwd=out, env=environment, shown=["pytest", "imagebuild.smoke.criteria"]
            )
    except command.CommandError as error:
        raise BuildError(
            f"the criteria could not be run on {rig.artifact}: {error.message}",
            hint="the log has pytest's own words",
        ) from error
    return read_cells(rig.evidence)


def cells_in(out: Path) -> tuple[Cell, ...]:
    """Return the cells of a verdict that was written, also of one that does not hold."""
    return TypeAdapter(tuple[Cell, ...]).validate_json((out / "verdict.json").read_text())


def read_cells(evidence: Path) -> tuple[Cell, ...]:
    """Return the cells that the criteria wrote. Raises BuildError when there are none: then nothing was
    tested.
    """
    file = evidence / "cells.json"
    cells = (
        TypeAdapter(tuple[Cell, ...]).validate_python(json.loads(file.read_text())) if file.exists() else ()
    )
    if not cells:
        raise BuildError("the criteria did not run", hint="the log has pytest's own words")
    return cells


def _same_firmware(references: Sequence[Verdict], firmware: Firmware) -> bool:
    return any(cell.firmware is firmware for reference in references for cell in reference.cells)


def _machine_ids(references: Sequence[Verdict]) -> tuple[str, ...]:
    files = [reference.evidence / "machine-id" for reference in references]
    return tuple(file.read_text().strip() for file in files if file.exists())


def _carried(reference: Verdict, rig: Rig, known: Sequence[Cell], proof: str) -> list[Cell]:
    """Return the cells of an artifact with the same disk, for what was not tested here; the proof stands in
    each, and in its evidence.
    """
    names = {cell.criterion for cell in known}
    found = []
    for cell in reference.cells:
        if cell.criterion in names:
            continue
        text = (
            f"carried over by identity from {cell.artifact} ({cell.firmware}): the same disk, byte by byte"
            f" ({proof.strip()})"
        )
        reason = f"{cell.reason}; {text}" if cell.reason else text
        log = rig.evidence / f"{cell.criterion}.log"
        source = reference.evidence / cell.evidence
        log.write_bytes(f"# {text}\n".encode() + (source.read_bytes() if source.exists() else b""))
        # a waiver is for the artifact it names
        here = replace(
            cell,
            artifact=rig.artifact,
            firmware=rig.firmware,
            state=cell.found or cell.state,
            found=None,
            carried=True,
            evidence=log.name,
            reason=reason,
            seconds=0.0,
        )
        found.append(here)
    return found
