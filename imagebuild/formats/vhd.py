"""VHD, fixed (Microsoft's "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer Format"):
what Azure takes, as it is or in xz as Fedora publishes it (`vhdfixed.xz`).

Azure's own conditions: fixed, a virtual size in whole MiB that is the file's without its footer (Azure's
"Prepare Linux for imaging", "General Linux installation notes"); qemu-img calls that `force_size`.
"""

import struct
import uuid
from pathlib import Path

from imagebuild.config.fields import Model
from imagebuild.errors import BuildError
from imagebuild.formats import compressed
from imagebuild.formats.compressed import XzConfig
from imagebuild.formats.format import X86_64_ONLY, Clouds, Format, Source, Unpacked, refuse
from imagebuild.kinds import Controller
from imagebuild.tools import temporary
from imagebuild.tools.qemu import disk_image

MIB = 1 << 20
OPTIONS = ("subformat=fixed", "force_size=on")
FOOTER = 512
COOKIE = b"conectix"
FIXED = 2
NO_OFFSET = 0xFFFF_FFFF_FFFF_FFFF
VERSION = 0x0001_0000
# cookie, features, version, data offset, time stamp, creator (application, version, system), original and
# current size, geometry, disk type, checksum, unique id; all big-endian
FIELDS = struct.Struct(">8sIIQI4sI4sQQ4sII16s")
TIME, CHECKSUM, IDENTIFIER = 24, 64, 68
# time stamps count from 2000-01-01 UTC
EPOCH = 946_684_800
# Azure's largest disk of an operating system (its "Virtual machine disk limits")
LARGEST = 4095 << 30
# cloud-init's datasource of Azure's users
CLOUDS: Clouds = (frozenset({"Azure"}),)


class VhdConfig(Model):
    """A fixed VHD has no choices."""


def write(source: Source, out: Path, name: str, options: VhdConfig) -> Path:
    """Convert a disk; time and id of the footer follow from the commit. Raises BuildError for a disk that is
    not of whole MiB.
    """
    del options
    file = out / f"{name}.vhd"
    if source.disk.size % MIB:
        raise BuildError(
            f"the disk has {source.disk.size} bytes, and Azure takes disks of whole MiB only",
            hint="give disk_size in MiB or GiB",
        )
    disk_image.convert(source.disk.file, source.disk.format, file, "vpc", options=OPTIONS)
    _set_identity(file, source)
    return file


def _set_identity(file: Path, source: Source) -> None:
    """Replace what is the clock's and chance's in a footer, and its checksum."""
    with file.open("r+b") as stream:
        stream.seek(-FOOTER, 2)
        footer = bytearray(stream.read(FOOTER))
        struct.pack_into(">I", footer, TIME, min(max(0, source.epoch - EPOCH), 0xFFFF_FFFF))
        footer[IDENTIFIER : IDENTIFIER + 16] = uuid.uuid5(
            uuid.NAMESPACE_URL, f"imagebuild:{source.seed}:vhd"
        ).bytes
        struct.pack_into(">I", footer, CHECKSUM, checksum(footer))
        stream.seek(-FOOTER, 2)
        stream.write(footer)


def checksum(footer: bytes | bytearray) -> int:
    """Return the one's complement of the sum of a footer's bytes, without those of the checksum itself."""
    return ~(sum(footer) - sum(footer[CHECKSUM : CHECKSUM + 4])) & 0xFFFF_FFFF


def has_footer(file: Path) -> bool:
    """Whether a file ends as a VHD does."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - FOOTER))
        return stream.read(len(COOKIE)) == COOKIE


def problems(file: Path) -> list[str]:
    """Return what is wrong with a fixed VHD that Azure is to take, a sentence each."""
    size = file.stat().st_size
    if size < FOOTER or not has_footer(file):
        return ["it does not end in a VHD's footer: is it a whole download?"]
    with file.open("rb") as stream:
        stream.seek(-FOOTER, 2)
        footer = stream.read(FOOTER)
    _, _, version, offset, _, _, _, _, _, current, _, kind, written, _ = FIELDS.unpack_from(footer)
    found = []
    if written != checksum(footer):
        found.append(f"the checksum of its footer is {checksum(footer):08x}, not {written:08x}")
    if kind != FIXED or offset != NO_OFFSET:
        found.append(f"it is of type {kind}, not a fixed VHD ({FIXED})")
    if version != VERSION:
        found.append(f"its footer is of version {version:08x}, not {VERSION:08x}")
    if current != size - FOOTER:
        found.append(f"its footer says {current} bytes, but there are {size - FOOTER} before it")
    if current % MIB:
        found.append(f"its disk has {current} bytes, which is not in whole MiB")
    if current > LARGEST:
        found.append(f"its disk has {current >> 30} GiB, and Azure's largest is of {LARGEST >> 30} GiB")
    return found


def unpack(file: Path, out: Path) -> Unpacked:
    """Return the file itself, on the IDE controller of Azure's and Hyper-V's machines of generation 1. Raises
    BuildError for what Azure would refuse.
    """
    del out
    refuse(file.name, problems(file))
    return Unpacked(disk=file, format="vpc", controller=Controller.IDE)


def write_xz(source: Source, out: Path, name: str, options: XzConfig) -> Path:
    """Write NAME.vhdfixed.xz: the same VHD through xz."""
    with temporary.within(out, "vhd") as directory:
        return compressed.compress(
            write(source, directory, name, VhdConfig()),
            out / f"{name}.vhdfixed.xz",
            compressed.xz(options.level),
        )


def unpack_xz(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would before uploading; the VHD in it is checked as the other one is."""
    return unpack(compressed.decompress(file, "xz", out / "disk.vhd"), out)


UPLOAD = (
    "az storage blob upload --type page --account-name ACCOUNT --container-name vhds --file {name} --name"
    " {name}"
)
FORMAT = Format(
    name="vhd",
    options=VhdConfig,
    write=write,
    unpack=unpack,
    problems=problems,
    suffix="vhd",
    arches=X86_64_ONLY,
    tools=("qemu-img",),
    cores=1,
    # not compressed; what is empty are holes
    size=1.3,
    productmd=("vpc", "vhd"),
    clouds=CLOUDS,
    title="Azure disk (vhd)",
    text="Fixed, as Azure takes it: a page blob, from which an image of generation 1 or 2 is made.",
    command=UPLOAD,
)
XZ = Format(
    name="vhd.xz",
    options=XzConfig,
    write=write_xz,
    unpack=unpack_xz,
    suffix="vhdfixed.xz",
    tools=("qemu-img", "xz"),
    productmd=("vhd-compressed", "vhdfixed.xz"),
    cosa="azure",
    clouds=CLOUDS,
    title="Azure disk (vhd, xz)",
    text="A fixed VHD, to be unpacked before it is uploaded.",
    command="xz -d {name}",
)
