"""Downloads that the demo does not make: of its disk, opened as their users open them, and booted on what
they have.
"""

from pathlib import Path
from typing import Any

import pytest

from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine.steps import Step, step
from imagebuild.formats.compressed import XzConfig
from imagebuild.formats.gce import GceConfig
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Firmware
from imagebuild.model import Disk, Image, Tree
from imagebuild.stages.convert import convert_disk
from imagebuild.stages.disk import install_disk
from imagebuild.stages.plan import plan_disk
from imagebuild.tools.qemu import disk_image
from tests.vm.wiring import Lab, write_text

QUICK: dict[str, Any] = {"vhd.xz": XzConfig(level=0), "gce": GceConfig(level=1)}
OF_THE_DISK = ("vhd", "vhd.xz", "vhdx", "gce", "ova", "kubevirt")
# what each user's machine shows of its controller in /proc/modules
DRIVERS = {
    "vhd": "ata_piix",
    "vhdx": "ata_piix",
    "gce": "virtio_scsi",
    "ova": "vmw_pvscsi",
    "kubevirt": "virtio_blk",
}


def download(lab: Lab, disk: Step[Disk], kind: str) -> Image:
    """Have a download made in the session's store."""
    options = QUICK.get(kind, FORMATS[kind].options())
    made = step(f"{kind} test", convert_disk, lab.pipeline.tree, disk, kind, "Test", options, None)
    image: Image = lab.must(made).value(made)
    return image


# of whole disks CI makes the two that are quick; of small ones it makes all (tests/formats)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("vhdx", "kubevirt") else [pytest.mark.slow])
        for kind in OF_THE_DISK
    ],
)
def test_a_download_holds_the_installed_disk(lab: Lab, tmp_path: Path, kind: str) -> None:
    disk = lab.pipeline.disks["cloud"]
    image = download(lab, disk, kind)
    unpacked = FORMATS[kind].unpack(image.file, tmp_path)
    made: Disk = lab.must(disk).value(disk)
    same, said = disk_image.compare(unpacked.disk, unpacked.format, made.file, made.format)
    assert same, said
    check = FORMATS[kind].problems
    assert check is None or check(image.file) == []


@pytest.mark.slow  # five guests
@pytest.mark.parametrize("kind", DRIVERS)
def test_a_download_boots_on_what_its_users_have(lab: Lab, tmp_path: Path, kind: str) -> None:
    image = download(lab, lab.pipeline.disks["cloud"], kind)
    unpacked = FORMATS[kind].unpack(image.file, tmp_path)
    tree: Tree = lab.must(lab.pipeline.tree).value(lab.pipeline.tree)
    with lab.booted(
        tree, unpacked.disk, tmp_path / kind, form=unpacked.format, controller=unpacked.controller
    ) as boot:
        assert boot.host is not None, boot.problem
        assert boot.host.booted().commit == tree.commit
        assert DRIVERS[kind] in boot.host.succeeds("cat", "/proc/modules")


@pytest.fixture
def disk_4k(lab: Lab) -> Step[Disk]:
    """A disk of the demo's kickstart for blocks of 4096 bytes; BIOS and its partition are left out."""
    text = "".join(line for line in lab.text().splitlines(keepends=True) if "biosboot" not in line)
    kickstart = step("kickstart 4k", write_text, lab.pipeline.tree, text)
    spec = DiskSpec(
        size=6144,
        firmware=(Firmware.UEFI,),
        populate=lab.host.populate,
        epoch=lab.host.epoch,
        sector_size=4096,
    )
    tree, toolbox = lab.pipeline.tree, lab.toolbox()
    plan = step("plan 4k", plan_disk, tree, toolbox, kickstart, spec)
    return step("disk 4k", install_disk, tree, toolbox, plan, spec.populate)


@pytest.mark.slow  # a disk of its own, and a guest
def test_a_disk_for_4k_blocks_boots_from_an_nvme_that_has_them(
    lab: Lab, disk_4k: Step[Disk], tmp_path: Path
) -> None:
    made = step(
        "raw-4k test", convert_disk, lab.pipeline.tree, disk_4k, "raw-4k", "Test", XzConfig(level=0), None
    )
    image: Image = lab.must(made).value(made)
    unpacked = FORMATS["raw-4k"].unpack(image.file, tmp_path)
    tree: Tree = lab.must(lab.pipeline.tree).value(lab.pipeline.tree)
    with lab.booted(
        tree,
        unpacked.disk,
        tmp_path / "4k",
        firmware=Firmware.UEFI,
        controller=unpacked.controller,
    ) as boot:
        assert boot.host is not None, boot.problem
        assert boot.host.booted().commit == tree.commit
        block = "/sys/block/nvme0n1/queue/logical_block_size"
        assert boot.host.succeeds("cat", block).strip() == "4096"
