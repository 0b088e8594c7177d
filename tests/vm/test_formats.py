"""Every download of the demo tree: built, opened as its users open it, and held byte by byte against the disk
it was made of.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuild.deploy.compare import compare
from imagebuild.formats.format import Unpacked
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller
from imagebuild.model import Disk, Image, Tree
from imagebuild.tools.qemu import disk_image
from tests.vm.wiring import Lab

GIB = 1 << 30
# made of the demo's disk, or of one of their own, in test_downloads.py
ELSEWHERE = {"vhd", "vhd.xz", "vhdx", "gce", "ova", "kubevirt", "raw-4k"}


@pytest.fixture(scope="session")
def downloads(lab: Lab) -> dict[str, tuple[Image, Disk, Tree]]:
    """Every format of the demo's configuration, and proof that each was looked into."""
    pipeline = lab.pipeline
    outcome = lab.must(*pipeline.images, *pipeline.inspections)
    disks = {name: outcome.value(disk) for name, disk in pipeline.disks.items()}
    assert disks["vagrant"].derived, "the Vagrant disk was installed again instead of changing an overlay"
    images = [outcome.value(one) for one in pipeline.images]
    return {
        image.format: (
            image,
            disks["vagrant" if "vagrant" in image.format else "cloud"],
            outcome.value(pipeline.tree),
        )
        for image in images
    }


def test_all_formats_are_there(downloads: dict[str, tuple[Image, Disk, Tree]]) -> None:
    assert set(downloads) | ELSEWHERE == set(FORMATS)


@pytest.mark.parametrize(
    "kind", ["qcow2", "raw.xz", "raw.zst", "vmdk", "vagrant-libvirt", "vagrant-virtualbox"]
)
def test_a_download_holds_the_installed_disk(
    downloads: dict[str, tuple[Image, Disk, Tree]], kind: str, tmp_path: Path
) -> None:
    image, disk, _ = downloads[kind]
    unpacked = FORMATS[kind].unpack(image.file, tmp_path)
    if disk.size < 10 * GIB:
        assert compare(unpacked.disk, disk.file) == []
    else:  # 40 GiB of zeros: qemu-img skips what is not allocated
        finished = subprocess.run(
            ["qemu-img", "compare", "-f", unpacked.format, "-F", disk.format, unpacked.disk, disk.file],
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr


def test_the_libvirt_box_keeps_its_contract(
    downloads: dict[str, tuple[Image, Disk, Tree]], tmp_path: Path
) -> None:
    image, _, _ = downloads["vagrant-libvirt"]
    assert image.file.read_bytes()[:2] == b"\x1f\x8b", "a libvirt box is a gzip tar"
    names = subprocess.run(
        ["tar", "tzf", image.file], capture_output=True, text=True, check=True
    ).stdout.split()
    assert sorted(names) == ["Vagrantfile", "box.img", "metadata.json"]
    FORMATS["vagrant-libvirt"].unpack(image.file, tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert metadata == {
        "provider": "libvirt",
        "format": "qcow2",
        "virtual_size": 41,
    }, "41 for 40 GiB (imagefactory, ovfcommon.py)"
    assert disk_image.info(tmp_path / "box.img", "qcow2")["virtual-size"] == 40 * GIB


@pytest.mark.parametrize("kind", ["vagrant-libvirt", "vagrant-virtualbox"])
def test_vagrant_takes_the_box(
    downloads: dict[str, tuple[Image, Disk, Tree]], kind: str, tmp_path: Path
) -> None:
    assert shutil.which("vagrant"), "the package vagrant is missing: run .ci/bootstrap"
    image, _, _ = downloads[kind]
    environment = {
        "VAGRANT_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "LC_ALL": "C.UTF-8",
        "VAGRANT_DEFAULT_PROVIDER": "libvirt",
    }
    added = subprocess.run(
        ["vagrant", "box", "add", "--name", "imagebuild/test", image.file],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert added.returncode == 0, added.stdout + added.stderr
    listed = subprocess.run(
        ["vagrant", "box", "list"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "imagebuild/test" in listed
    assert kind.removeprefix("vagrant-") in listed


@pytest.mark.slow  # `make demo` does it, too
def test_the_vmdk_boots_as_vmdk_on_vmwares_controller(
    downloads: dict[str, tuple[Image, Disk, Tree]], lab: Lab, tmp_path: Path
) -> None:
    image, _, tree = downloads["vmdk"]
    unpacked = FORMATS["vmdk"].unpack(image.file, tmp_path)
    assert unpacked == Unpacked(disk=image.file, format="vmdk", controller=Controller.PVSCSI)
    with lab.booted(
        tree, unpacked.disk, tmp_path / "vmdk", form="vmdk", controller=unpacked.controller
    ) as boot:
        assert boot.host is not None, boot.problem
        assert boot.host.booted().commit == tree.commit
        assert "vmw_pvscsi" in boot.host.succeeds("cat", "/proc/modules")
