"""Archives with a disk in them, as their own programs read them: Vagrant boxes, OVA, a cloud's tar.gz, a zip.

Sources: Vagrant 2.4 (lib/vagrant/box_collection.rb: `bsdtar -x`, which takes any compression;
action/general/package.rb: members `./…` and include/…), vagrant-libvirt 0.12 (action/handle_box_image.rb: box
formats 1 and 2), DMTF DSP0243 (OVF), Compute Engine's disk.raw. Only plain files of it are written, under
names of our own: nothing can lead out of the directory.
"""

import contextlib
import json
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.formats import bounded, container_disk, gce, layers
from imagebuild.formats.bounded import HOSTILE
from imagebuild.formats.box import METADATA, OVF, describes_machine
from imagebuild.formats.oci_layout import INDEX
from imagebuild.formats.ovf import DiskInside, disk_described, read_text
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

MOST_MEMBERS = 4096
GIB = 1024**3
# what a XenServer's XVA has beside its disks, which are in pieces of 1 MiB
XVA = "ova.xml"
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
    NotImplementedError,
    RuntimeError,
    # a zip may send its reader to a place before the beginning
    OSError,
)


@contextlib.contextmanager
def usable(name: str) -> Iterator[None]:
    """Raise BuildError for whatever tarfile and zipfile say of an archive that is none, or is damaged."""
    try:
        yield
    except DAMAGE as error:
        raise BuildError(
            f"{name} is not a usable archive: {error}", hint="is it a whole download?"
        ) from error


def members_of(
    name: str, open_stream: Callable[[], contextlib.AbstractContextManager[IO[bytes]]]
) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield (path, content, size) of each plain file of a tar archive, in order; what is in include/ is not
    looked at.

    Raises BuildError for what is not an archive, leads out of it, or has too many members.
    """
    with (
        usable(name),
        open_stream() as stream,
        tarfile.open(fileobj=stream, mode="r|", tarinfo=bounded.CheckedInfo) as tar,
    ):
        for number, member in enumerate(tar):
            path = _path(member.name, name, number)
            content = (
                tar.extractfile(member)
                if member.isfile() and path and not path.startswith("include/")
                else None
            )
            if content is not None:
                yield path, content, member.size
        # what follows the end: whoever writes it must not die of a closed pipe
        while stream.read(bounded.CHUNK):
            pass


def zipped(file: Path) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield the same of a zip archive."""
    with usable(file.name), zipfile.ZipFile(file) as archive:
        for number, member in enumerate(archive.infolist()):
            path = _path(member.filename, file.name, number)
            plain = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
            if path and plain and not member.is_dir():
                with archive.open(member) as content:
                    yield path, content, member.file_size


def _path(member: str, name: str, number: int) -> str:
    """Return a member's path without `./`. Raises BuildError for one that leads out, or one too many."""
    if number >= MOST_MEMBERS:
        raise BuildError(f"{name} has more than {MOST_MEMBERS} members", hint=HOSTILE)
    parts = [part for part in member.split("/") if part not in ("", ".")]
    if member.startswith("/") or ".." in parts or "\\" in member or "\0" in member:
        raise BuildError(f"{name}: its member {member!r} leads out of the archive", hint=HOSTILE)
    # macOS' tar and zip put a file's attributes beside it, under its name (AppleDouble)
    return "" if parts and (parts[0] == "__MACOSX" or parts[-1].startswith("._")) else "/".join(parts)


def extract(members: Iterator[tuple[str, IO[bytes], int]], name: str, work: Path) -> dict[str, Path]:
    """Write the members into a directory and return path -> file. Raises BuildError for two of one name, or
    what is too large.
    """
    unpacked = dict[str, Path]()
    for path, content, size in members:
        if path in unpacked:
            raise BuildError(f"{name} has {path} twice", hint=HOSTILE)
        if path == XVA:
            raise BuildError(
                f"{name} is a XenServer's XVA, whose disks are in pieces",
                hint="export it as OVF, or its disk as VHD",
            )
        if size > bounded.LARGEST:
            raise BuildError(f"{name}: its member {path} has {size} bytes", hint=HOSTILE)
        with usable(name):
            unpacked[path] = bounded.write(content, layers.fresh(work), f"{path} of {name}")
    return unpacked


def name_of(paths: Sequence[str]) -> str | None:
    """Return which kind of archive has members of these names: a format, or ova; None for one that names no
    disk.
    """
    names = [record.name for record in FORMATS.values() if record.members and record.members(paths)]
    return next(iter(names), "ova" if describes_machine(paths) else None)


def disk_in(unpacked: Mapping[str, Path], name: str) -> DiskInside:
    """Return the disk of an archive's files. Raises BuildError, which says what there is, when there is not
    one.
    """
    provider = ""
    if container_disk.is_image(unpacked):
        target = layers.fresh(unpacked[INDEX].parent)
        return DiskInside(file=container_disk.disk_of(unpacked, name, target), controller=Controller.VIRTIO)
    if METADATA in unpacked:
        metadata = _json(unpacked[METADATA], name)
        provider = str(metadata.get("provider", ""))
        if provider in ("libvirt", "qemu") or "disks" in metadata:
            return _libvirt(metadata, unpacked, name)
    described = sorted((path for path in unpacked if path.endswith(OVF)), key=lambda path: path.count("/"))
    if described:
        return disk_described(
            described[0],
            unpacked,
            name,
            Controller.IDE if provider == "virtualbox" or described[0] == "box.ovf" else None,
        )
    return _only_one(unpacked, name)


def _json(file: Path, name: str) -> dict[str, Any]:
    try:
        metadata = json.loads(read_text(file, f"{METADATA} of {name}"))
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{name}: its {METADATA} cannot be read: {error}") from error
    if not isinstance(metadata, dict):
        raise BuildError(f"{name}: its {METADATA} is not an object")
    return metadata


# --- boxes --------------------------------------------------------------------------------------------------


def _libvirt(metadata: Mapping[str, Any], unpacked: Mapping[str, Path], name: str) -> DiskInside:
    """Do what vagrant-libvirt does: the first of `disks`, as large as it is, or box.img, made `virtual_size`
    GiB large.
    """
    disks = metadata.get("disks") or []
    if not isinstance(disks, list) or not all(isinstance(disk, dict) for disk in disks):
        raise BuildError(f"{name}: `disks` of its {METADATA} is not a list of disks")
    path, size = "box.img", metadata.get("virtual_size")
    if disks:
        path, size = str(disks[0].get("path", "")), None
        for disk in disks[1:]:
            steplog.note(f"{name}: its further disk {disk.get('path')!r} is left out")
    elif metadata.get("format") != "qcow2" or not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise BuildError(
            f"{name}: its {METADATA} does not say that box.img is qcow2 and how large its disk is (format,"
            " virtual_size in GiB)"
        )
    file = unpacked.get("/".join(part for part in path.split("/") if part not in ("", ".")))
    if file is None or layers.kind_of(layers.head_of(file)) != "qcow2":
        raise BuildError(
            f"{name}: its disk {path!r} is {'not in the box' if file is None else 'not a qcow2'}"
        )
    if size is not None and (held := disk_image.virtual_size(file, "qcow2")) > size * GIB:
        raise BuildError(f"{name}: its disk of {held} bytes is larger than the {size} GiB it names")
    return DiskInside(file=file, controller=Controller.VIRTIO, size=size * GIB if size is not None else None)


# --- anything else ------------------------------------------------------------------------------------------


def _only_one(unpacked: Mapping[str, Path], name: str) -> DiskInside:
    """Return the one member that is an image, or has one in it."""
    kinds = {path: layers.recognise(file)[1] for path, file in unpacked.items()}
    images = [path for path, kind in kinds.items() if kind is not None]
    if len(images) != 1:
        raise BuildError(
            f"{name} has"
            f" {'no disk image' if not images else 'more than one disk image: ' + ', '.join(images[:5])}",
            hint=f"it has: {', '.join(list(unpacked)[:10]) or 'no plain files'}",
        )
    return DiskInside(
        file=unpacked[images[0]], controller=Controller.VIRTIO_SCSI if gce.is_archive(unpacked) else None
    )
