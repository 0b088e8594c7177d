"""The box of vagrant-libvirt: a gzip tar of box.img (qcow2), metadata.json and a Vagrantfile
(vagrant-libvirt, "Box Format").
"""

import gzip
import json
from pathlib import Path

from imagebuild.config.images import Qcow2Config
from imagebuild.errors import BuildError
from imagebuild.formats import Source, Unpacked, box, qcow2
from imagebuild.kinds import Controller
from imagebuild.tools import temporary
from imagebuild.tools.qemu import disk_image

GIB = 1024**3
STORED, DEFLATED = 0, 6
READS = ("vagrant/libvirt.Vagrantfile",)


def write(source: Source, out: Path, name: str, options: Qcow2Config) -> Path:
    """Write NAME.vagrant-libvirt.box. What is compressed inside of the qcow2 is not compressed again by
    gzip.
    """
    file = out / f"{name}.vagrant-libvirt.box"
    # imagefactory's size (ovfcommon.py): the next whole GiB above, 41 for 40 GiB; Vagrant makes volumes of
    # that size
    metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": source.disk.size // GIB + 1}
    with temporary.within(out, "box") as place:
        image = qcow2.write(source, place, "box", options)
        members: dict[str, bytes | Path] = {
            "metadata.json": json.dumps(metadata).encode() + b"\n",
            "Vagrantfile": box.render(READS[0], {}),
            "box.img": image,
        }
        level = STORED if options.compression != "none" else DEFLATED
        with (
            file.open("wb") as raw,
            gzip.GzipFile(
                filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=source.epoch
            ) as stream,
        ):
            box.write_archive(stream, members, source.epoch)
    return file


def unpack(file: Path, out: Path) -> Unpacked:
    """Do what vagrant-libvirt does: box.img becomes a volume of `virtual_size` GiB on a virtio disk."""
    metadata = box.unpack(file, out, "libvirt")
    image = out / "box.img"
    if (
        metadata.get("format") != "qcow2"
        or not image.exists()
        or not isinstance(metadata.get("virtual_size"), int)
    ):
        raise BuildError(f"{file.name} has no box.img of format qcow2, or does not say how large its disk is")
    found = disk_image.info(image, "qcow2")
    elsewhere = found.get("backing-filename") or found.get("format-specific", {}).get("data", {}).get(
        "data-file"
    )
    if elsewhere:
        raise BuildError(f"{file.name}: its box.img reads from {elsewhere}")
    if found["virtual-size"] > metadata["virtual_size"] * GIB:
        raise BuildError(
            f"{file.name}: its disk of {found['virtual-size']} bytes is larger than the"
            f" {metadata['virtual_size']} GiB it names"
        )
    return Unpacked(
        disk=image, format="qcow2", controller=Controller.VIRTIO, size=metadata["virtual_size"] * GIB
    )
