"""Boot an artifact under one firmware and hold it against the release criteria; the result is a verdict, or the step fails."""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild.config import SmokeConfig
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.formats import Unpacked
from imagebuild.formats.table import FORMATS
from imagebuild.guest import Rig, rig_to_json
from imagebuild.kinds import Controller, Firmware, Login, State
from imagebuild.model import Cell, Disk, Image, Installation, Tree, Verdict
from imagebuild.tools import command
from imagebuild.tools.accelerator import Accelerator

MIB = 1024 * 1024
# pytest(1): all passed, some failed; anything else is trouble of its own
FINE = (0, 1)
# the criterion that an installation has passed which got this far (stages/install.py)
INSTALLS = "installer-media-boots-and-installs"


def criteria_digest() -> str:
    """Return the sha256 of the criteria and of what they check storage with.

    pytest finds them by name, not by an import of this module: without this in the key a changed criterion would keep old verdicts.
    """
    package = Path(__file__).parent.parent
    sources = sorted([*(package / "criteria").glob("*.py"), *(package / "storage").glob("*.py")])
    return hashlib.sha256(b"".join(hashlib.sha256(source.read_bytes()).digest() for source in sources)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class SmokeSpec:
    """Under which firmware, who lets the tester in, with what promised storage, the remote of upgrades and its URL, and which criteria."""

    firmware: Firmware
    login: Login
    storage: str
    remote: str
    update_url: str
    update_verify: bool = True
    criteria: str = field(default_factory=criteria_digest)


def smoke_test(out: Path, tree: Tree, image: Image, spec: SmokeSpec, guest: SmokeConfig, accelerator: Accelerator) -> Verdict:
    """Unpack a download as its users would, boot it and run the criteria under pytest in a process of its own.

    Raises CriteriaError when a cell is neither `passed` nor `not applicable` (the evidence is kept), BuildError when the criteria
    did not run at all.
    """
    work = out / "unpacked"
    work.mkdir()
    try:
        unpacked = FORMATS[image.format].unpack(image.file, work)
        return _test(out, image.name, unpacked, tree, spec, guest, accelerator)
    finally:
        shutil.rmtree(work)


def smoke_disk(out: Path, tree: Tree, disk: Disk, name: str, spec: SmokeSpec, guest: SmokeConfig, accelerator: Accelerator) -> Verdict:
    """Boot the installed disk itself, while its downloads are still being compressed. Raises as `smoke_test`."""
    return _test(out, name, Unpacked(disk=disk.file, format=disk.format, controller=Controller.VIRTIO), tree, spec, guest, accelerator)


def smoke_installation(
    out: Path, tree: Tree, installation: Installation, spec: SmokeSpec, guest: SmokeConfig, accelerator: Accelerator
) -> Verdict:
    """Boot the disk that an ISO has installed, under the same firmware; the installation itself is the first cell. Raises as `smoke_test`."""
    boot = Unpacked(disk=installation.disk, format="qcow2", controller=Controller.VIRTIO)
    evidence = out / "evidence"
    verdict = _test(out, installation.iso, boot, tree, spec, guest, accelerator)
    for file in sorted(installation.evidence.iterdir()):
        shutil.copyfile(file, evidence / f"installer-{file.name}")
    cell = Cell(
        criterion=INSTALLS, artifact=installation.iso, firmware=installation.firmware, state=State.PASSED, reason="",
        evidence="installer-serial.log", seconds=installation.phases.get("off", 0.0),
    )  # fmt: skip
    return replace(verdict, cells=(cell, *verdict.cells))


def _test(out: Path, artifact: str, boot: Unpacked, tree: Tree, spec: SmokeSpec, guest: SmokeConfig, accelerator: Accelerator) -> Verdict:
    evidence = out / "evidence"
    evidence.mkdir()
    rig = Rig(
        disk=boot.disk, disk_format=boot.format, controller=boot.controller, artifact=artifact, firmware=spec.firmware, login=spec.login,
        commit=tree.commit, version=tree.version, refspec=f"{spec.remote}:{tree.ref}", host_kind=tree.host_kind, user=guest.user,
        cores=guest.cores, memory=guest.memory * MIB, storage=spec.storage, update_url=spec.update_url, update_verify=spec.update_verify,
        accelerator=accelerator, evidence=evidence,
        allowed_failed_units=tuple(guest.failed_units_allowed), disk_size=boot.size,
    )  # fmt: skip
    (out / "rig.json").write_text(rig_to_json(rig))
    (out / "pytest.ini").write_text("[pytest]\n")
    junit = out / "junit.xml"
    argv: list[str | Path] = [
        sys.executable, "-m", "pytest", "-p", "imagebuild.criteria.plugin", "-c", out / "pytest.ini", "--rootdir", out, "-p", "no:cacheprovider", "--color=no", "-v", "--tb=short",
        "-o", f"junit_suite_name={artifact} {spec.firmware}", f"--junitxml={junit}", "--pyargs", "imagebuild.criteria", "--rig", out / "rig.json",
    ]  # fmt: skip
    try:
        command.run(argv, accept=FINE, cwd=out, shown=["pytest", "imagebuild.criteria"])
    except command.CommandError as error:
        raise BuildError(f"the criteria could not be run on {artifact}: {error.message}", hint="the log has pytest's own words") from error
    cells = read_cells(evidence)
    (out / "verdict.json").write_text(TypeAdapter(tuple[Cell, ...]).dump_json(cells, indent=1).decode() + "\n")
    bad = [cell for cell in cells if cell.state not in (State.PASSED, State.NOT_APPLICABLE)]
    if bad:
        names = ", ".join(f"{cell.criterion} ({cell.state})" for cell in bad)
        raise CriteriaError(f"{artifact} under {spec.firmware} does not hold: {names}", hint="the evidence says why", evidence=out)
    return Verdict(cells=cells, junit=junit, evidence=evidence)


def read_cells(evidence: Path) -> tuple[Cell, ...]:
    """Return the cells that the criteria wrote. Raises BuildError when there are none: then nothing was tested."""
    file = evidence / "cells.json"
    cells = TypeAdapter(tuple[Cell, ...]).validate_python(json.loads(file.read_text())) if file.exists() else ()
    if not cells:
        raise BuildError("the criteria did not run", hint="the log has pytest's own words")
    return cells
