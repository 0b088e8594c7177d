"""Install from the ISO in a guest with an empty disk: what comes out is the disk that the criteria are held
against.
"""

import json
from pathlib import Path

from imagebuild import steplog
from imagebuild.config.smoke import SmokeConfig
from imagebuild.deploy.signed_loader import HINT
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Installation, IsoImage, Tree
from imagebuild.smoke import installation, verdict
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.criterion import INSTALLS
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.installation import InstallerBench
from imagebuild.tools import load
from imagebuild.tools.accelerator import Accelerator

MIB = 1024 * 1024


def install_iso(
    out: Path,
    tree: Tree,
    iso: IsoImage,
    firmware: Firmware,
    disk_size: int,
    guest: SmokeConfig,
    accelerator: Accelerator,
) -> Installation:
    """Boot the ISO's unattended entry under a firmware with an empty disk of `disk_size` MiB.

    Raises CriteriaError when the medium does not boot or install (evidence and one failed cell are kept),
    BuildError for one that has no kickstart on it (whether it installs could not be tested), or nothing
    signed for a machine with Secure Boot.
    """
    if not iso.unattended:
        raise BuildError(
            f"{iso.name} has no kickstart on it: nobody can test that it installs",
            hint="set installer.unattended to one of `kickstarts`",
        )
    if firmware is Firmware.UEFI_SECURE and iso.secure_boot.reason is not None:
        raise BuildError(
            f"{iso.name} is to boot under {firmware}, but {iso.secure_boot.reason}",
            hint=f"{HINT}; or take {firmware} out of installer.firmware",
        )
    evidence = out / "evidence"
    evidence.mkdir()
    disk = out / "disk.qcow2"
    bench = InstallerBench(
        iso=iso.file,
        firmware=firmware,
        accelerator=accelerator.suited(tree.isa, guest.cpu),
        cores=guest.cores or accelerator.cores,
        memory=guest.memory * MIB,
        disk_size=disk_size * MIB,
    )
    try:
        phases = _install(bench, disk, evidence)
    except (InstallationError, RigError) as error:
        state = State.ERROR if isinstance(error, RigError) else State.FAILED
        cell = Cell(
            criterion=INSTALLS, artifact=iso.name, firmware=firmware, state=state, reason=error.message,
            evidence=installation.main_log(evidence), seconds=0.0,
        )  # fmt: skip
        verdict.write(out / verdict.FILE, [cell])
        raise CriteriaError(
            f"{iso.name} under {firmware}: {error.message}", hint="the evidence says why", evidence=out
        ) from error
    (out / "phases.json").write_text(json.dumps(phases) + "\n")
    return Installation(disk=disk, iso=iso.name, firmware=firmware, phases=phases, evidence=evidence)


def _install(bench: InstallerBench, disk: Path, evidence: Path) -> dict[str, float]:
    """Install; when the rig breaks, once more on a quieter machine: that says nothing of the medium. Raises
    InstallationError, RigError.
    """
    try:
        return installation.install(bench, disk, evidence)
    except RigError as error:
        steplog.note(f"the rig broke, the installation is tried again: {error.message}")
        busy = STARVED in error.message
    disk.unlink(missing_ok=True)
    aside = evidence / "try-1"
    aside.mkdir()
    for file in [file for file in evidence.iterdir() if file != aside]:
        file.rename(aside / file.name)
    if busy:
        load.wait_for_quiet(bench.cores)
    return installation.install(bench, disk, evidence)
