"""Steps of small builds: a disk with the files of the tree, and a look into its download."""

import os
from dataclasses import replace
from pathlib import Path

from imagebuild import files
from imagebuild.deploy import partition_table as table
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Login, State
from imagebuild.model import Cell, Disk, Image, Inspection, Toolbox, Tree
from imagebuild.smoke.trial import Trial
from imagebuild.tools import loop, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.namespace import private
from imagebuild.tools.qemu.export import exported
from tests.vm import simulated

MIB = 1 << 20
# of the disk: far behind the table and the boot loader's place
START, SIZE = 64 * MIB, 32 * MIB
GUEST_SECONDS = 0.3
# the criterion that a simulated guest fails, when it is given in this variable
FAILS = "FAULTS_FAILS"


def probe(cache: Path, *, kernel: Path | None = None) -> Accelerator:
    """Take the place of accelerator.probe: nothing is booted here."""
    del cache, kernel
    return Accelerator(name="tcg", slowness=1.0, reason="simulated")


def run_once(out: Path, trial: Trial) -> tuple[Cell, ...]:
    """Take the place of attempts.run_once, as tests/vm/simulated.py does; one criterion may fail."""
    fails = os.environ.get(FAILS)
    return tuple(
        replace(cell, state=State.FAILED, reason="simulated") if cell.criterion == fails else cell
        for cell in simulated.run_once(out, trial)
    )


def install_disk(out: Path, tree: Tree, toolbox: Toolbox, plan: Plan, ways: tuple[str, ...]) -> Disk:
    """Write the toolbox's files as a tar archive into the middle of a disk."""
    del tree, ways
    file = out / "disk.raw"
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    table.write_table(file, plan)
    with (
        temporary.directory("small") as root,
        private() as space,
        loop.attached(toolbox.image, read_only=True) as image,
        loop.attached(file, offset=START, size=SIZE) as part,
    ):
        space.run(["mount", "-o", "ro", image, root])
        space.run(["tar", "--create", "--sort=name", "--file", part, "--directory", root, "."])
        space.run(["sync", part])
        space.run(["umount", root])
    return Disk(
        file=file,
        format="raw",
        size=plan.disk_size,
        firmware=frozenset(plan.firmware),
        populated="native",
        sector_size=plan.sector_size,
    )


def inspect_image(
    out: Path, tree: Tree, previous: tuple[Tree, ...], toolbox: Toolbox, plan: Plan, image: Image,
    ways: tuple[str, ...], login: Login,
) -> Inspection:  # fmt: skip
    """Read the archive back as a user of the download would."""
    del tree, previous, toolbox, plan, ways, login
    work = out / "unpacked"
    work.mkdir()
    unpacked = FORMATS[image.format].unpack(image.file, work)
    with exported(unpacked.disk, unpacked.format, writable=False, part=(START, SIZE)) as raw:
        digest, whole = files.sha256(raw), b"usr/lib/os-release" in raw.read_bytes()
    if not whole:
        raise BuildError(f"{image.name} does not hold the tree")
    (out / "facts.json").write_text(f'{{"sha256": "{digest}"}}\n')
    return Inspection(artifact=image.name, facts=out / "facts.json")
