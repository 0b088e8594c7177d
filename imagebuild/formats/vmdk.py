"""vmdk, subformat streamOptimized (VMware's "Virtual Disk Format 5.0"): what vSphere and VirtualBox
import.
"""

import re
import struct
from pathlib import Path
from typing import IO

from imagebuild.config.fields import Model
from imagebuild.errors import BuildError
from imagebuild.formats.format import X86_64_ONLY, Format, Magic, Source, Unpacked
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

OPTIONS = ("adapter_type=lsilogic", "subformat=streamOptimized", "compat6")
SECTOR = 512
LARGEST, FARTHEST = 1024, 1 << 32  # sectors of a descriptor
# what a sparse extent begins with; a descriptor alone could name any file of the machine
MAGIC = b"KDMV"


class VmdkConfig(Model):
    """A streamOptimized vmdk has no choices."""


def write(source: Source, out: Path, name: str, options: VmdkConfig) -> Path:
    """Convert a disk; the content id follows from the commit instead of from chance."""
    del options
    file = out / f"{name}.vmdk"
    disk_image.convert(source.disk.file, source.disk.format, file, "vmdk", options=OPTIONS)
    set_content_id(file, source.seed[:8])
    return file


def set_content_id(file: Path, identifier: str) -> None:
    """Write CID, 8 hexadecimal digits, into the descriptor. Raises BuildError when there is none.

    qemu-img writes a random one without leading zeros, so the text is written anew, up to the end of its
    sectors. Where its second one is shorter than its first, the end of the older text stays behind the new
    one's NUL (QEMU 7.2, block/vmdk.c, vmdk_write_cid).
    """
    with file.open("r+b") as stream:
        offset, size, text = _descriptor(stream)
        text, count = re.subn(rb"(?m)^CID=[0-9a-f]{1,8}$", b"CID=" + identifier.encode(), text)
        if count != 1 or len(text) > size * SECTOR:
            raise BuildError(
                f"{file.name} has no descriptor with a CID: did qemu-img change its vmdk writer?"
            )
        stream.seek(offset * SECTOR)
        stream.write(text.ljust(size * SECTOR, b"\0"))


def _descriptor(stream: IO[bytes]) -> tuple[int, int, bytes]:
    """Return place and size of a sparse extent's descriptor, in sectors, and its text; empty where there is
    none.
    """
    stream.seek(0)
    header = stream.read(SECTOR)
    # SparseExtentHeader: magic, …, descriptorOffset and descriptorSize in sectors (VMDK 5.0, "Hosted Sparse
    # Extent Header")
    offset, size = (
        struct.unpack_from("<QQ", header, 28) if header[:4] == MAGIC and len(header) == SECTOR else (0, 0)
    )
    if not 0 < size < LARGEST or offset > FARTHEST:
        return 0, 0, b""
    stream.seek(offset * SECTOR)
    return offset, size, stream.read(size * SECTOR).partition(b"\0")[0]


def is_stream_optimized(stream: IO[bytes]) -> bool:
    """Whether an open file, or a member of an archive, is a vmdk that can be read in one go."""
    return b'createType="streamOptimized"' in _descriptor(stream)[2].splitlines()


def unpack(file: Path, out: Path) -> Unpacked:
    """Return the file itself: it is booted as vmdk, on VMware's paravirtual controller."""
    del out
    return Unpacked(disk=file, format="vmdk", controller=Controller.PVSCSI)


FORMAT = Format(
    name="vmdk",
    options=VmdkConfig,
    write=write,
    unpack=unpack,
    suffix="vmdk",
    arches=X86_64_ONLY,
    tools=("qemu-img",),
    # qemu-img writes it with one thread
    cores=1,
    magic=Magic(data=MAGIC),
    productmd=("vmdk", "vmdk"),
    cosa="vmware",
    clouds=(frozenset({"OVF", "VMware"}),),
    title="VMware disk (vmdk)",
    text="For vSphere; attach it to a paravirtual SCSI or SATA controller.",
    command="qemu-img convert -O raw {name} disk.raw",
)
