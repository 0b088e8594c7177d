"""The box of Vagrant's VirtualBox provider: a plain tar of box.ovf (first), the vmdk, metadata.json and a
Vagrantfile.

box.ovf follows DMTF DSP0243 (OVF 1.0) to the letter: VirtualBox' own extension, vbox:Machine, is not allowed
by the schema. Ids and the network card's address follow from the commit.
"""

import json
import uuid
from collections.abc import Collection
from pathlib import Path
from xml.etree import ElementTree

from imagebuild.errors import BuildError
from imagebuild.formats import box, vmdk
from imagebuild.formats.format import Format, Source, Unpacked
from imagebuild.formats.vmdk import VmdkConfig
from imagebuild.kinds import Controller
from imagebuild.tools import temporary

OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
# VirtualBox's own range of addresses: 08:00:27 (PCS Systemtechnik)
VENDOR = "080027"
OS_TYPES = {"fedora": ("Fedora_64", 80), "debian": ("Debian_64", 96)}
LARGEST_OVF = 1 << 20
READS = ("vagrant/box.ovf", "vagrant/virtualbox.Vagrantfile")


def write(source: Source, out: Path, name: str, options: VmdkConfig) -> Path:
    """Write NAME.vagrant-virtualbox.box. The vmdk is compressed already, so the archive is not."""
    file = out / f"{name}.vagrant-virtualbox.box"
    with temporary.within(out, "box") as directory:
        disk = vmdk.write(source, directory, "box-disk1", options)
        mac = VENDOR + source.seed[:6].upper()
        members: dict[str, bytes | Path] = {
            "box.ovf": box.render(READS[0], _values(source, disk)),
            "metadata.json": json.dumps({"provider": "virtualbox"}).encode() + b"\n",
            "Vagrantfile": box.render(READS[1], {"mac": mac}),
            disk.name: disk,
        }
        with file.open("wb") as stream:
            box.write_archive(stream, members, source.epoch)
    return file


def _values(source: Source, disk: Path) -> dict[str, object]:
    kind, number = OS_TYPES.get(source.os_id, ("Linux26_64", 80))
    return {
        "file": disk.name,
        "file_size": disk.stat().st_size,
        "capacity": source.disk.size,
        "title": source.title,
        "disk": uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuild:{source.seed}:vmdk"),
        "os_type": kind,
        "os_id": number,
        "cores": 1,
        "memory": 1024,
    }


def unpack(file: Path, out: Path) -> Unpacked:
    """Do what VirtualBox's import does: read box.ovf and take the disk it names, on the IDE controller it
    names.
    """
    box.unpack(file, out, "virtualbox")
    description = out / "box.ovf"
    if (
        not description.exists()
        or description.stat().st_size > LARGEST_OVF
        or b"<!DOCTYPE" in description.read_bytes()
    ):
        raise BuildError(f"{file.name} has no usable box.ovf")
    try:
        root = ElementTree.fromstring(description.read_bytes().decode("utf-8"))  # noqa: S314  # no document type, so no entities
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise BuildError(f"{file.name}: its box.ovf is not XML: {error}") from error
    name = next((element.get(f"{OVF}href") for element in root.iter(f"{OVF}File")), None)
    if name is None or "/" in name or not (out / name).is_file():
        raise BuildError(f"{file.name}: its box.ovf names the disk {name!r}, which is not in the box")
    with (out / name).open("rb") as stream:
        if stream.read(4) != vmdk.MAGIC:
            raise BuildError(f"{file.name}: its disk {name} is not a sparse vmdk")
    return Unpacked(disk=out / name, format="vmdk", controller=Controller.IDE)


def is_box(members: Collection[str]) -> bool:
    """Whether an archive with these members is such a box; one from before Vagrant 1.1 has no metadata
    (box_collection.rb, `v1_box?`).
    """
    return box.describes_machine(members) and (box.METADATA in members or "box.ovf" in members)


FORMAT = Format(
    name="vagrant-virtualbox",
    options=VmdkConfig,
    write=write,
    unpack=unpack,
    suffix="vagrant-virtualbox.box",
    tools=("qemu-img",),
    cores=1,
    reads=READS,
    members=is_box,
    productmd=("vagrant-virtualbox", "vagrant-virtualbox.box"),
    arches=box.ARCHES,
    title="Vagrant box (VirtualBox)",
    column="VirtualBox box",
    command="vagrant box add --name {box} {name} && vagrant init {box} && vagrant up --provider virtualbox",
)
