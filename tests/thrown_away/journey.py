"""A program: one of each kind goes from the configuration to the release, in a package that has them.

Arguments: a directory, and GnuPG's. Prints a word for each part of the way.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from imagebuild.architectures.registry import guest_of, loader_of, of_program
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.destinations.registry import open_destination
from imagebuild.engine import planning
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.installer import Request
from imagebuild.installers.registry import INSTALLERS, choose
from imagebuild.kinds import Controller, Firmware
from imagebuild.model import Disk, Kickstart
from imagebuild.publish.names import names_of
from imagebuild.release_line.model import Config
from imagebuild.smoke import any_image
from imagebuild.smoke.storage.registry import PROFILES
from imagebuild.stages.convert import convert_disk
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu.command_line import command_line
from imagebuild.tools.qemu.machine import Machine
from tests.data import ROOT
from tests.release_lab import FIRST, Line
from tests.tools.machines import PLACES
from tests.wiring import wired


def changes(place: Path) -> dict[str, Any]:
    """Return what a release line says to use all of them."""
    demo = yaml.safe_load((ROOT / "configs" / "debian-12.yaml").read_text())
    demo["images"]["cloud"]["formats"]["plain"] = {"heads": 1}
    return {
        "images": demo["images"],
        "installer": {**demo["installer"], "backend": "floppy", "floppy": {"sides": 1}},
        "compose": {"composer": "empty", "version": "7"},
        "storage": "in-memory",
        "publish": {"destination": f"nowhere://{place}/mirror"},
    }


def main(place: Path, homedir: Path) -> None:
    """Go the whole way."""
    line = Line(place / "line", homedir, changes=changes(place))
    config = line.config
    assert config.storage in PROFILES
    print("configuration")
    names = {step.name for step in planning.order([wired(config).release])}
    assert {"plain cloud", "inspect plain cloud", "smoke plain cloud uefi", "installer iso"} <= names
    print("graph")
    tree = line.commit("12.1", FIRST, {"usr/bin/bootc": b""})
    (place / "disk").write_bytes(b"disk" * 1000)
    disk = Disk(
        file=place / "disk", size=4000, firmware=frozenset({Firmware.UEFI}), format="raw", populated="x"
    )
    options = config.images["cloud"].formats["plain"]
    image = convert_disk(place, tree, disk, "plain", "name", options, None)
    assert image.file.name == "name-12.1.x86_64.plain"
    print("download")
    assert any_image.recognise(image.file) == "plain"
    (place / "unpacked").mkdir()
    unpacked = FORMATS["plain"].unpack(image.file, place / "unpacked")
    assert unpacked.disk.read_bytes() == disk.file.read_bytes()
    print("recognised")
    assert config.installer is not None
    backend, _ = choose(config.installer)
    kickstart = Kickstart(file=place / "none.ks", syntax="F28")
    request = Request(
        name="installer",
        title="T",
        product="P",
        release="12",
        tree=tree,
        toolbox=None,
        source=config.tree,
        config=config.installer,
        defaults=kickstart,
        unattended=None,
        keys=(),
        ways=(),
        epoch=1,
        treeinfo=place / "treeinfo",
    )
    assert INSTALLERS[backend].build(place, request).read_text() == "1 sides"
    print("installer")
    assert config.compose is not None
    job = Job(directory=place, ref=tree.ref, tree=config.tree, cache=place)
    assert composers.compose(job, config.compose).version == "7"
    print("composer")
    architecture(config)
    released(line, line.release(line.material(tree)))


def architecture(config: Config) -> None:
    """Boot loader, guest and names of an architecture follow from its record."""
    head = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xf3\x00"
    assert of_program(head) == "riscv64"
    assert loader_of("riscv64").removable == "BOOTRISCV64.EFI"
    guests = Accelerator(name="tcg", slowness=1, reason="").of("riscv64")
    machine = Machine(
        disk=None, controller=Controller.VIRTIO, firmware=Firmware.UEFI, cores=1, memory=1 << 30
    )
    argv = command_line(machine, guests, PLACES, guest_of("riscv64").firmware[Firmware.UEFI].flash[0])
    assert argv[0] == "qemu-system-riscv64"
    assert any("file=/code.fd" in word for word in argv)
    (name, *_) = names_of(config, "20261126", 0, arch="riscv64").paths()
    assert "/riscv64/" in name
    print("architecture")


def released(line: Line, release: Path) -> None:
    """Look for all of them in a release, and publish it."""
    print("release")
    (download,) = release.rglob("*.plain")
    assert download.name == "Debian-AtomicHost-12-20261126.0.x86_64.plain"
    print("names")
    images = (release / "metadata" / "images.json").read_text()
    assert download.name in images
    assert "plain" in json.loads((release / "metadata" / "meta.json").read_text())["images"]
    print("metadata")
    page = (release / "index.html").read_text()
    assert "Plain disk" in page
    assert f"tail -c +9 {download.name}" in page
    print("page")
    assert "bootc upgrade" in page
    print("host")
    destination = open_destination(line.config.publish.destination or "")
    destination.write("latest.json", b"{}")
    assert (line.place.parent / "mirror" / "latest.json").read_bytes() == b"{}"
    print("destination")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
