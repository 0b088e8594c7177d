"""KubeVirt's container disk (its user guide, "Disks and Volumes", containerDisk): an image of containers with
one disk in /disk, which its QEMU, user and group 107, can read.

Published as coreos-assembler does (src/cosalib/kubevirt.py): an OCI archive, for `skopeo copy` to a registry.
"""

import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

from imagebuild.config.fields import Model
from imagebuild.errors import BuildError
from imagebuild.formats import bounded, oci_layout, qcow2
from imagebuild.formats.format import Format, Source, Unpacked, refuse
from imagebuild.formats.oci_layout import Image
from imagebuild.formats.qcow2 import Qcow2Config
from imagebuild.kinds import Controller
from imagebuild.tools import temporary
from imagebuild.tools.qemu import disk_image

# the user and group of QEMU in KubeVirt's launcher
QEMU = 107
DIRECTORY, DISK = "disk", "disk.qcow2"
MOST_MEMBERS = 4096
QCOW2_MAGIC = b"QFI\xfb"
DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError)


class ContainerDiskConfig(Model):
    """How the qcow2 in it is compressed; the layer around it is not."""

    compression: Literal["zlib", "zstd"] = "zstd"


def write(source: Source, out: Path, name: str, options: ContainerDiskConfig) -> Path:
    """Write NAME.kubevirt.ociarchive: one layer with /disk/disk.qcow2."""
    file = out / f"{name}.kubevirt.ociarchive"
    with temporary.within(out, "layer") as directory:
        disk = qcow2.write(source, directory, "disk", Qcow2Config(compression=options.compression))
        layer = directory / "layer.tar"
        _write_layer(layer, disk, source.epoch)
        disk.unlink()
        oci_layout.write(file, layer, arch=source.arch, title=source.title, epoch=source.epoch)
    return file


def _write_layer(layer: Path, disk: Path, epoch: int) -> None:
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar, disk.open("rb") as content:
        directory = tarfile.TarInfo(DIRECTORY)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o555
        file = tarfile.TarInfo(f"{DIRECTORY}/{DISK}")
        file.size, file.mode = disk.stat().st_size, 0o440
        for member in (directory, file):
            member.uid = member.gid = QEMU
            member.mtime = epoch
        tar.addfile(directory)
        tar.addfile(file, content)


def problems(file: Path) -> list[str]:
    """Return what KubeVirt would refuse an archive for, a sentence each."""
    with temporary.directory("container-disk") as work:
        try:
            return _unpacked(oci_layout.read(oci_layout.extract(file, work)), work / "disk")[1]
        except BuildError as error:
            return [error.message]
        except DAMAGE as error:
            return [f"it is damaged: {error}"]


def _unpacked(image: Image, target: Path) -> tuple[Path, list[str]]:
    """Write the disk of an image to a file; return it, and what is wrong with it. Raises BuildError when
    there is not one disk.
    """
    found = list(_disks(image, target))
    if len(found) != 1:
        raise BuildError(f"it has {len(found)} files in /{DIRECTORY}, not one disk")
    return target, [problem for problem in (_unreadable(found[0]), _outside(target)) if problem]


def _disks(image: Image, target: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members in /disk of all layers; the content of the last is in `target`."""
    for layer, packed in image.layers:
        with (
            bounded.stream_of(layer, packed) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=bounded.CheckedInfo) as tar,
        ):
            for number, member in enumerate(tar):
                if number >= MOST_MEMBERS:
                    raise BuildError(f"a layer has more than {MOST_MEMBERS} members", hint=bounded.HOSTILE)
                parts = [part for part in member.name.split("/") if part not in ("", ".")]
                content = tar.extractfile(member) if member.isreg() and parts[:-1] == [DIRECTORY] else None
                if content is not None:
                    bounded.write(content, target, member.name)
                    yield member
            while stream.read(bounded.CHUNK):
                pass


def _unreadable(member: tarfile.TarInfo) -> str | None:
    mine = 0o400 if member.uid == QEMU else 0o040 if member.gid == QEMU else 0o004
    if member.mode & mine:
        return None
    owner = f"{member.uid}:{member.gid}, mode {member.mode:o}"
    return f"its disk {member.name} ({owner}) cannot be read by KubeVirt's QEMU, which is {QEMU}:{QEMU}"


def _outside(disk: Path) -> str | None:
    """Return what is wrong with a disk that reads from other files: one could name any of the node's."""
    try:
        disk_image.refuse_outside(disk, format_of(disk), what="its disk")
    except BuildError as error:
        return error.message
    return None


def format_of(disk: Path) -> str:
    """Return QEMU's format of a disk in such an image: qcow2 or raw, as KubeVirt knows no other."""
    with disk.open("rb") as stream:
        return "qcow2" if stream.read(len(QCOW2_MAGIC)) == QCOW2_MAGIC else "raw"


def unpack(file: Path, out: Path) -> Unpacked:
    """Do what KubeVirt does: the one file of /disk is a virtio disk. Raises BuildError for what it would
    refuse.
    """
    try:
        disk, wrong = _unpacked(oci_layout.read(oci_layout.extract(file, out)), out / DISK)
    except DAMAGE as error:
        raise BuildError(f"{file.name} is damaged: {error}", hint="is it a whole download?") from error
    except BuildError as error:
        raise BuildError(f"{file.name}: {error.message}", hint=error.hint) from error
    refuse(file.name, wrong)
    return Unpacked(disk=disk, format=format_of(disk), controller=Controller.VIRTIO)


def disk_of(unpacked: Mapping[str, Path], name: str, target: Path) -> Path:
    """Return the disk of somebody's container disk, whose archive is unpacked. Raises BuildError."""
    try:
        return _unpacked(oci_layout.read(unpacked), target)[0]
    except DAMAGE as error:
        raise BuildError(f"{name} is damaged: {error}") from error
    except BuildError as error:
        raise BuildError(f"{name}: {error.message}", hint=error.hint) from error


def is_image(members: Collection[str]) -> bool:
    """Whether an archive with these members is an OCI image, which may be one."""
    return {oci_layout.LAYOUT, oci_layout.INDEX} <= set(members)


FORMAT = Format(
    name="kubevirt",
    options=ContainerDiskConfig,
    write=write,
    unpack=unpack,
    problems=problems,
    suffix="kubevirt.ociarchive",
    tools=("qemu-img",),
    # the qcow2, the layer around it, the archive around that
    size=1.2,
    members=is_image,
    productmd=("ociarchive", "ociarchive"),
    cosa="kubevirt",
    clouds=(frozenset({"NoCloud", "ConfigDrive"}),),
    title="KubeVirt container disk",
    column="KubeVirt",
    text="An image of containers with the disk in it, for a containerDisk volume.",
    command="skopeo copy oci-archive:{name} docker://REGISTRY/{box}",
)
