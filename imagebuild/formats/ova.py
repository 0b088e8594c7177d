"""An appliance of vSphere and its like (DMTF DSP0243, 5.3): a ustar archive of the description, its manifest
and the vmdk, in this order. Hardware as coreos-assembler 0.17 describes it (src/vmware-template.xml): a
paravirtual SCSI controller, vmxnet3.
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from pydantic import Field

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.formats import bounded, box, ovf, vmdk
from imagebuild.formats.format import X86_64_ONLY, Format, Source, Unpacked, refuse
from imagebuild.formats.vmdk import VmdkConfig
from imagebuild.kinds import Controller, Firmware
from imagebuild.tools import temporary

READS = ("ova/machine.ovf",)
MOST_MEMBERS = 64
# POSIX' format; GNU's and pax' headers are what readers of OVA stumble over
MAGIC, MAGIC_AT = b"ustar\0", 257
# CIM_OperatingSystem's number and VMware's name of a guest
SYSTEMS = {"fedora": (80, "fedora64Guest"), "debian": (96, "debian10_64Guest")}
ANY_LINUX = (101, "otherLinux64Guest")
LINE = re.compile(r"(SHA1|SHA256|SHA512)\(([^()]+)\)= ?([0-9a-f]+)")
DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError)
# what an archive of ours has
Members = Mapping[str, tarfile.TarInfo]


class OvaConfig(VmdkConfig):
    """The machine that an appliance describes: VMware's version of hardware, processors, MiB of memory."""

    hardware: int = Field(default=13, ge=7, le=99)
    cores: int = Field(default=1, ge=1, le=64)
    memory: int = Field(default=2048, ge=256, le=1 << 20, multiple_of=4)


def write(source: Source, out: Path, name: str, options: OvaConfig) -> Path:
    """Write NAME.ova: NAME.ovf, NAME.mf and NAME-disk1.vmdk."""
    file = out / f"{name}.ova"
    with temporary.within(out, "ova") as directory:
        disk = vmdk.write(source, directory, f"{name}-disk1", options)
        description = box.render(READS[0], _values(source, disk, name, options))
        digests = {f"{name}.ovf": hashlib.sha256(description).hexdigest(), disk.name: files.sha256(disk)}
        manifest = "".join(f"SHA256({member})= {digest}\n" for member, digest in digests.items())
        members: dict[str, bytes | Path] = {
            f"{name}.ovf": description,
            f"{name}.mf": manifest.encode(),
            disk.name: disk,
        }
        with file.open("wb") as stream:
            box.write_archive(stream, members, source.epoch, tarfile.USTAR_FORMAT)
    return file


def _values(source: Source, disk: Path, name: str, options: OvaConfig) -> dict[str, object]:
    number, system = SYSTEMS.get(source.os_id, ANY_LINUX)
    return {
        "file": disk.name,
        "file_size": disk.stat().st_size,
        "capacity": source.disk.size,
        "title": source.title,
        "machine": name,
        "os_id": number,
        "os_type": system,
        "efi": Firmware.UEFI in source.disk.firmware,
        **options.model_dump(),
    }


def problems(file: Path) -> list[str]:
    """Return what an appliance would be refused for, a sentence each."""
    try:
        with tarfile.open(file, "r:", tarinfo=bounded.CheckedInfo) as tar, temporary.directory("ova") as work:
            members, found = _members(tar), []
            with file.open("rb") as stream:
                stream.seek(MAGIC_AT)
                found += [] if stream.read(len(MAGIC)) == MAGIC else ["it is not in POSIX' format of tar"]
            return [*found, *_order(members), *_content(tar, members, file.name, Path(work))]
    except BuildError as error:
        return [error.message]
    except DAMAGE as error:
        return [f"it is damaged: {error}"]


def _members(tar: tarfile.TarFile) -> Members:
    """Return the members by name, in order. Raises BuildError for what does not belong into an appliance."""
    members = dict[str, tarfile.TarInfo]()
    for member in tar:
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or "/" in member.name:
            raise BuildError(f"its member {member.name!r} is not a plain file of the appliance")
        if member.name in members or len(members) >= MOST_MEMBERS:
            raise BuildError(f"it has {member.name!r} twice, or more than {MOST_MEMBERS} members")
        members[member.name] = member
    return members


def _order(members: Members) -> Iterator[str]:
    """Yield what is wrong with the order of the members: readers take them as they come."""
    names = list(members)
    if not names or not names[0].endswith(".ovf"):
        yield "its first member is not the description (.ovf)"
    elif names[1:2] != [f"{names[0].removesuffix('.ovf')}.mf"]:
        yield f"its second member is not the manifest of {names[0]}"


def _content(tar: tarfile.TarFile, members: Members, name: str, work: Path) -> Iterator[str]:
    """Yield what is wrong with description, manifest and disks."""
    description = next((member for member in members if member.endswith(".ovf")), None)
    if description is None:
        return
    root = ovf.read_description(_small(tar, members[description], work), name)
    sizes = {
        unquote(ovf.attribute(element, "href")): ovf.attribute(element, "size")
        for element in ovf.elements(root, "File")
    }
    if not sizes:
        yield "its description names no disk"
    rest = [member for member in members if not member.endswith((".ovf", ".mf", ".cert"))]
    if rest != list(sizes):
        yield f"it has {', '.join(rest) or 'nothing'} where its description names {', '.join(sizes)}"
    for file, size in sizes.items():
        if file in members and size not in ("", str(members[file].size)):
            yield f"{file} has {members[file].size} bytes, not the {size} of its description"
        if file.endswith(".vmdk") and file in members and not _is_stream(tar, members[file]):
            yield f"{file} is not a vmdk of the kind streamOptimized"
    yield from _digests(tar, members, [description, *sizes], work)


def _is_stream(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    content = tar.extractfile(member)
    return content is not None and vmdk.is_stream_optimized(content)


def _digests(tar: tarfile.TarFile, members: Members, needed: list[str], work: Path) -> Iterator[str]:
    manifest = next((member for member in members.values() if member.name.endswith(".mf")), None)
    if manifest is None:
        yield "it has no manifest (.mf)"
        return
    lines = ovf.read_text(_small(tar, manifest, work), "its manifest").splitlines()
    matches = [LINE.fullmatch(line) for line in lines if line.strip()]
    if None in matches:
        yield "its manifest has a line without a digest of a file"
    listed = {match[2]: (match[1], match[3]) for match in matches if match is not None}
    for name in needed:
        if name not in listed:
            yield f"its manifest has no digest of {name}"
        elif name in members and _digest(tar, members[name], listed[name][0]) != listed[name][1]:
            yield f"the digest of {name} is not that of its manifest"


def _digest(tar: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> str:
    found, content = hashlib.new(kind.lower()), tar.extractfile(member)
    while content is not None and (chunk := content.read(bounded.CHUNK)):
        found.update(chunk)
    return found.hexdigest()


def _small(tar: tarfile.TarFile, member: tarfile.TarInfo, work: Path) -> Path:
    """Return a text of the archive as a file. Raises BuildError for what is too large to be one."""
    if member.size > ovf.LARGEST_TEXT:
        raise BuildError(f"its {member.name} has {member.size} bytes")
    return _extracted(tar, member, work / member.name.rpartition(".")[2])


def _extracted(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Path:
    content = tar.extractfile(member)
    assert content is not None, "it is a plain file"
    return bounded.write(content, target, member.name)


def unpack(file: Path, out: Path) -> Unpacked:
    """Do what an import does: take the disk that the description names, on the controller it names. Raises
    BuildError for what would be refused.
    """
    refuse(file.name, problems(file))
    with tarfile.open(file, "r:", tarinfo=bounded.CheckedInfo) as tar:
        members = _members(tar)
        unpacked = {
            name: _extracted(tar, member, out / f"member-{number}")
            for number, (name, member) in enumerate(members.items())
        }
    disk = ovf.disk_described(next(iter(members)), unpacked, file.name, None)
    return Unpacked(disk=disk.file, format="vmdk", controller=disk.controller or Controller.PVSCSI)


def is_appliance(members: Collection[str]) -> bool:
    """Whether an archive with these members is one, and not a Vagrant box."""
    return box.describes_machine(members) and box.METADATA not in members and "box.ovf" not in members


FORMAT = Format(
    name="ova",
    options=OvaConfig,
    write=write,
    unpack=unpack,
    problems=problems,
    suffix="ova",
    arches=X86_64_ONLY,
    tools=("qemu-img",),
    # qemu-img writes the vmdk with one thread
    cores=1,
    # the disk, and the archive with it
    size=1.2,
    reads=READS,
    members=is_appliance,
    productmd=("vsphere-ova", "vsphere.ova"),
    cosa="vmware",
    clouds=(frozenset({"OVF", "VMware"}),),
    title="Appliance (ova)",
    text="For vSphere, VMware Workstation and VirtualBox: import it as it is.",
    command="ovftool {name} vi://HOST",
)
