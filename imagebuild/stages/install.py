"""Install from the ISO in a guest with an empty disk: what comes out is the disk that the criteria are held against."""

import json
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import installation
from imagebuild.config import SmokeConfig
from imagebuild.criteria import INSTALLS
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.installation import Bench, InstallationError
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Installation, IsoImage, Tree
from imagebuild.tools.accelerator import Accelerator

MIB = 1024 * 1024


def install_iso(
    out: Path, tree: Tree, iso: IsoImage, firmware: Firmware, disk_size: int, guest: SmokeConfig, accelerator: Accelerator
) -> Installation:
    """Boot the ISO's unattended entry under a firmware with an empty disk of `disk_size` MiB.

    Raises CriteriaError when the medium does not boot or install (evidence and one failed cell are kept), BuildError for one that has no
    kickstart on it: whether it installs could not be tested.
    """
    if not iso.unattended:
        raise BuildError(
            f"{iso.name} has no kickstart on it: nobody can test that it installs",
            hint="set installer.unattended to one of `kickstarts`",
        )
    evidence = out / "evidence"
    evidence.mkdir()
    disk = out / "disk.qcow2"
    bench = Bench(
        iso=iso.file, firmware=firmware, accelerator=accelerator.suited(tree.isa, guest.cpu), cores=guest.cores or accelerator.cores,
        memory=guest.memory * MIB, disk_size=disk_size * MIB,
    )  # fmt: skip
    try:
        phases = installation.install(bench, disk, evidence)
    except InstallationError as error:
        cell = Cell(
            criterion=INSTALLS,
            artifact=iso.name,
            firmware=firmware,
            state=State.FAILED,
            reason=error.message,
            evidence="serial.log",
            seconds=0.0,
        )
        (out / "verdict.json").write_text(TypeAdapter(list[Cell]).dump_json([cell], indent=1).decode() + "\n")
        raise CriteriaError(f"{iso.name} under {firmware}: {error.message}", hint="the evidence says why", evidence=out) from error
    (out / "phases.json").write_text(json.dumps(phases) + "\n")
    return Installation(disk=disk, iso=iso.name, firmware=firmware, phases=phases, evidence=evidence)
