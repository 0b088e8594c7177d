"""Archives with a disk in them, as their own programs read them: Vagrant boxes, OVA, a cloud's tar.gz, a zip.

Sources: Vagrant 2.4 (lib/vagrant/box_collection.rb: `bsdtar -x`, which takes any compression;
action/general/package.rb: members `./…` and include/…), vagrant-libvirt 0.12 (action/handle_box_image.rb: box
formats 1 and 2), DMTF DSP0243 (OVF), Compute Engine's disk.raw. Only plain files of it are written, under
names of our own: nothing can lead out of the directory.
"""

import contextlib
import json
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote
from xml.etree import ElementTree

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.formats import layers
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

MOST_MEMBERS = 4096
LARGEST_TEXT = 1 << 20
GIB = 1024**3
# CIM_ResourceAllocationSettingData.ResourceType
DISK, SCSI = "17", "6"
METADATA, OVF = "metadata.json", ".ovf"
# where the disks are that the OVF of an oVirt storage domain names, as Image Factory 1.1.16 packs it
# (ovfcommon.py, RHEVOVFPackage); what a XenServer's XVA has beside its disks, which are in pieces of 1 MiB
DOMAIN, XVA = "images", "ova.xml"
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
)
HOSTILE = "where did you get that image?"


@dataclass(frozen=True, kw_only=True)
class Found:
    """The disk of an archive: its file, the controller that its users have it on (None: what its format
    says), the size that it is made (bytes).
    """

    file: Path
    controller: Controller | None = None
    size: int | None = None


@contextlib.contextmanager
def usable(name: str) -> Iterator[None]:
    """Raise BuildError for whatever tarfile and zipfile say of an archive that is none, or is damaged."""
    try:
        yield
    except DAMAGE as error:
        raise BuildError(f"{name} is no usable archive: {error}", hint="is it a whole download?") from error


def members_of(
    name: str, open_stream: Callable[[], contextlib.AbstractContextManager[IO[bytes]]]
) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield (path, content, size) of each plain file of a tar archive, in order; what is in include/ is not
    looked at.

    Raises BuildError for what is no archive, leads out of it, or has too many members.
    """
    with usable(name), open_stream() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
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
        while stream.read(layers.CHUNK):
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
    found = dict[str, Path]()
    for path, content, size in members:
        if path in found:
            raise BuildError(f"{name} has {path} twice", hint=HOSTILE)
        if path == XVA:
            raise BuildError(
                f"{name} is a XenServer's XVA, whose disks are in pieces",
                hint="export it as OVF, or its disk as VHD",
            )
        if size > layers.LARGEST:
            raise BuildError(f"{name}: its member {path} has {size} bytes", hint=HOSTILE)
        with usable(name):
            found[path] = layers.write(content, layers.fresh(work), f"{path} of {name}")
    return found


def name_of(paths: Sequence[str]) -> str | None:
    """Return which kind of archive has members of these names: vagrant-libvirt, vagrant-virtualbox, ova; None
    for one that names no disk.
    """
    described = any(path.endswith(OVF) and "/" not in path for path in paths)
    if METADATA in paths:
        return "vagrant-virtualbox" if described else "vagrant-libvirt"
    # a box from before Vagrant 1.1 has no metadata (box_collection.rb, `v1_box?`)
    return ("vagrant-virtualbox" if "box.ovf" in paths else "ova") if described else None


def disk_in(found: Mapping[str, Path], name: str) -> Found:
    """Return the disk of an archive's files. Raises BuildError, which says what there is, when there is not
    one.
    """
    provider = ""
    if METADATA in found:
        metadata = _json(found[METADATA], name)
        provider = str(metadata.get("provider", ""))
        if provider in ("libvirt", "qemu") or "disks" in metadata:
            return _libvirt(metadata, found, name)
    described = sorted((path for path in found if path.endswith(OVF)), key=lambda path: path.count("/"))
    if described:
        return _of_ovf(
            described[0],
            found,
            name,
            Controller.IDE if provider == "virtualbox" or described[0] == "box.ovf" else None,
        )
    return _only_one(found, name)


def _json(file: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads(_text(file, f"{METADATA} of {name}"))
    except (ValueError, RecursionError) as error:
        raise BuildError(f"{name}: its {METADATA} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BuildError(f"{name}: its {METADATA} is no object")
    return found


def _text(file: Path, what: str, encoding: str = "utf-8-sig") -> str:
    if file.stat().st_size > LARGEST_TEXT:
        raise BuildError(f"{what} has {file.stat().st_size} bytes", hint=HOSTILE)
    try:
        return file.read_text(encoding=encoding)
    except (UnicodeError, LookupError) as error:
        raise BuildError(f"{what} is no text: {error}") from error


def _encoding(file: Path) -> str:
    """Return the encoding of an XML file, as it says itself (XML 1.0, 4.3.3)."""
    with file.open("rb") as stream:
        head = stream.read(256)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    declared = re.match(rb"""<\?xml[^>]*\sencoding\s*=\s*["']([\w.-]+)""", head)
    return (
        declared.group(1).decode("ascii", "replace")
        if declared is not None and declared.group(1).lower() != b"utf-8"
        else "utf-8-sig"
    )


# --- boxes --------------------------------------------------------------------------------------------------


def _libvirt(metadata: Mapping[str, Any], found: Mapping[str, Path], name: str) -> Found:
    """Do what vagrant-libvirt does: the first of `disks`, as large as it is, or box.img, made `virtual_size`
    GiB large.
    """
    disks = metadata.get("disks") or []
    if not isinstance(disks, list) or not all(isinstance(disk, dict) for disk in disks):
        raise BuildError(f"{name}: `disks` of its {METADATA} is no list of disks")
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
    file = found.get("/".join(part for part in path.split("/") if part not in ("", ".")))
    if file is None or layers.kind_of(layers.head_of(file)) != "qcow2":
        raise BuildError(f"{name}: its disk {path!r} is {'not in the box' if file is None else 'no qcow2'}")
    if size is not None and (held := disk_image.virtual_size(file, "qcow2")) > size * GIB:
        raise BuildError(f"{name}: its disk of {held} bytes is larger than the {size} GiB it names")
    return Found(file=file, controller=Controller.VIRTIO, size=size * GIB if size is not None else None)


# --- OVF ----------------------------------------------------------------------------------------------------


def _of_ovf(description: str, found: Mapping[str, Path], name: str, controller: Controller | None) -> Found:
    """Return the first disk that an OVF describes, on the kind of controller that it describes; it names it
    as seen from its own directory.
    """
    text = _text(found[description], f"the OVF of {name}", _encoding(found[description]))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BuildError(f"{name}: its OVF has a document type", hint=HOSTILE)
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # no document type, so no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise BuildError(f"{name}: its OVF is not XML: {error}") from error
    files = {
        _attribute(element, "id"): unquote(_attribute(element, "href")) for element in _all(root, "File")
    }
    # oVirt's disks name the file itself
    files = {path: path for path in files.values()} | files
    disks = {
        _attribute(element, "diskId"): files.get(_attribute(element, "fileRef"), "")
        for element in _all(root, "Disk")
    }
    identifier, path = next(
        ((identifier, path) for identifier, path in disks.items() if path),
        ("", next(iter(files.values()), "")),
    )
    plain = "/".join(part for part in path.split("/") if part not in ("", "."))
    directories = (description.rpartition("/")[0], "", DOMAIN)
    file = next(
        (found[there] for directory in directories if (there := f"{directory}/{plain}".lstrip("/")) in found),
        None,
    )
    if file is None:
        raise BuildError(f"{name}: its OVF names the disk {path!r}, which is not in the archive")
    return Found(file=file, controller=controller or _controller(root, identifier))


def _controller(root: ElementTree.Element, disk: str) -> Controller:
    # oVirt says it in an attribute of its own
    if any(
        _attribute(element, "disk-interface").lower().startswith("virtio") for element in _all(root, "Disk")
    ):
        return Controller.VIRTIO
    items = [
        {_local(field.tag): (field.text or "").strip() for field in element}
        for element in (*_all(root, "Item"), *_all(root, "StorageItem"))
    ]
    kinds = {item.get("InstanceID", ""): item.get("ResourceType", "") for item in items}
    mine = [
        item
        for item in items
        if item.get("ResourceType") == DISK and item.get("HostResource", "").endswith(f"/{disk}")
    ]
    return Controller.PVSCSI if mine and kinds.get(mine[0].get("Parent", "")) == SCSI else Controller.IDE


def _all(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a name, whichever version's namespace they are in."""
    return [
        element for element in root.iter() if isinstance(element.tag, str) and _local(element.tag) == name
    ]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(element: ElementTree.Element, name: str) -> str:
    return next((value for key, value in element.attrib.items() if _local(key) == name), "")


# --- anything else ------------------------------------------------------------------------------------------


def _only_one(found: Mapping[str, Path], name: str) -> Found:
    """Return the one member that is an image, or has one in it."""
    kinds = {path: layers.recognise(file)[1] for path, file in found.items()}
    images = [path for path, kind in kinds.items() if kind is not None]
    if len(images) != 1:
        raise BuildError(
            f"{name} has"
            f" {'no disk image' if not images else 'more than one disk image: ' + ', '.join(images[:5])}",
            hint=f"it has: {', '.join(list(found)[:10]) or 'no plain files'}",
        )
    return Found(file=found[images[0]])
