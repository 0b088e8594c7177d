"""The disk that a virtual machine's description names, in an archive from elsewhere (DMTF DSP0243, OVF)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from imagebuild.errors import BuildError
from imagebuild.formats.bounded import HOSTILE
from imagebuild.kinds import Controller

LARGEST_TEXT = 1 << 20
# CIM_ResourceAllocationSettingData.ResourceType
DISK, SCSI = "17", "6"
# where the disks are that the OVF of an oVirt storage domain names, as Image Factory 1.1.16 packs it
# (ovfcommon.py, RHEVOVFPackage)
DOMAIN = "images"


@dataclass(frozen=True, kw_only=True)
class DiskInside:
    """The disk of an archive: its file, the controller that its users have it on (None: what its format
    says), the size that it is made (bytes).
    """

    file: Path
    controller: Controller | None = None
    size: int | None = None


def read_text(file: Path, what: str, encoding: str = "utf-8-sig") -> str:
    """Return a small text of an archive. Raises BuildError for what is too large, or is not text."""
    if file.stat().st_size > LARGEST_TEXT:
        raise BuildError(f"{what} has {file.stat().st_size} bytes", hint=HOSTILE)
    try:
        return file.read_text(encoding=encoding)
    except (UnicodeError, LookupError) as error:
        raise BuildError(f"{what} is not text: {error}") from error


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


def read_description(file: Path, name: str) -> ElementTree.Element:
    """Return the root of the OVF of an archive of that name. Raises BuildError for what is not XML, or could
    read other files.
    """
    text = read_text(file, f"the OVF of {name}", _encoding(file))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BuildError(f"{name}: its OVF has a document type", hint=HOSTILE)
    try:
        return ElementTree.fromstring(text)  # noqa: S314  # no document type, so no entities
    except (ElementTree.ParseError, ValueError) as error:
        raise BuildError(f"{name}: its OVF is not XML: {error}") from error


def disk_described(
    description: str, unpacked: Mapping[str, Path], name: str, controller: Controller | None
) -> DiskInside:
    """Return the first disk that an OVF describes, on the kind of controller that it describes; it names it
    as seen from its own directory.
    """
    root = read_description(unpacked[description], name)
    files = {
        attribute(element, "id"): unquote(attribute(element, "href")) for element in elements(root, "File")
    }
    # oVirt's disks name the file itself
    files = {path: path for path in files.values()} | files
    disks = {
        attribute(element, "diskId"): files.get(attribute(element, "fileRef"), "")
        for element in elements(root, "Disk")
    }
    identifier, path = next(
        ((identifier, path) for identifier, path in disks.items() if path),
        ("", next(iter(files.values()), "")),
    )
    plain = "/".join(part for part in path.split("/") if part not in ("", "."))
    directories = (description.rpartition("/")[0], "", DOMAIN)
    file = next(
        (
            unpacked[there]
            for directory in directories
            if (there := f"{directory}/{plain}".lstrip("/")) in unpacked
        ),
        None,
    )
    if file is None:
        raise BuildError(f"{name}: its OVF names the disk {path!r}, which is not in the archive")
    return DiskInside(file=file, controller=controller or _controller(root, identifier))


def _controller(root: ElementTree.Element, disk: str) -> Controller:
    # oVirt says it in an attribute of its own
    if any(
        attribute(element, "disk-interface").lower().startswith("virtio")
        for element in elements(root, "Disk")
    ):
        return Controller.VIRTIO
    items = [
        {_local(field.tag): (field.text or "").strip() for field in element}
        for element in (*elements(root, "Item"), *elements(root, "StorageItem"))
    ]
    kinds = {item.get("InstanceID", ""): item.get("ResourceType", "") for item in items}
    mine = [
        item
        for item in items
        if item.get("ResourceType") == DISK and item.get("HostResource", "").endswith(f"/{disk}")
    ]
    return Controller.PVSCSI if mine and kinds.get(mine[0].get("Parent", "")) == SCSI else Controller.IDE


def elements(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the elements of a name, whichever version's namespace they are in."""
    return [
        element for element in root.iter() if isinstance(element.tag, str) and _local(element.tag) == name
    ]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def attribute(element: ElementTree.Element, name: str) -> str:
    """Return an attribute of whichever namespace; empty when there is none."""
    return next((value for key, value in element.attrib.items() if _local(key) == name), "")
