"""Images of others, as `imagebuild test`, `compare` and `verify` open them: disks, archives, layouts,
media.
"""

import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path

from imagebuild.deploy import compatibility, disk_map
from imagebuild.formats import archives, container_disk, gce, ova, vhd, vhdx, vmdk
from imagebuild.smoke import any_image
from imagebuild.tools import iso
from imagebuild.tools.qemu import disk_image
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed, packed, tars

# QEMU 10.0, docs/interop/qcow2.txt: version 3, 1 MiB, clusters of 64 KiB; here without tables
QCOW2 = struct.pack(
    ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, 1 << 20, 0, 1, 0x30000, 0x10000, 1, 0, 0, 0, 0, 0, 4, 104
).ljust(0x40000, b"\0")
# with a backing file, and with a file of data beside it
BACKED = QCOW2[:8] + struct.pack(">QI", 200, 11) + QCOW2[20:200] + b"/etc/shadow" + QCOW2[211:]
DATA_FILE = QCOW2[:72] + struct.pack(">Q", 4) + QCOW2[80:]
VMDK = b"KDMV" + struct.pack(
    "<IIQQQQIQQQB4sH", 3, 0x30001, 2048, 128, 1, 20, 512, 0, 26, 128, 0, b"\n \r\n", 1
)
DESCRIPTION = (
    b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
    b'createType="monolithicFlat"\nRW 2048 FLAT "/etc/shadow" 0\n'
)
EMBEDDED = (
    VMDK.ljust(512, b"\0")
    + DESCRIPTION.replace(b"monolithicFlat", b"streamOptimized").ljust(10240, b"\0")
    + bytes(1 << 16)
)
VHDX = (
    b"vhdxfile".ljust(1 << 16, b"\0")
    + b"head".ljust(1 << 16, b"\0")
    + b"head".ljust(1 << 16, b"\0")
    + b"regi".ljust(1 << 17, b"\0")
)
VHD = bytes(4096) + struct.pack(
    ">8sIIQI4sI4sQQ", b"conectix", 2, 0x10000, (1 << 64) - 1, 0, b"qemu", 0x50003, b"Wi2k", 4096, 4096
).ljust(512, b"\0")
GPT = (
    bytes(510)
    + b"\x55\xaa"
    + bytes(4096 - 512)
    + b"EFI PART"
    + struct.pack("<II", 0x10000, 92)
    + bytes(56)
    + struct.pack("<QII", 2, 4, 128)
    + bytes(4096 - 88)
)
GPT += b"".join(
    struct.pack("<16s16sQQQ72s", b"t" * 16, b"u" * 16, first, first, 0, "name".encode("utf-16-le"))
    for first in (3, 4)
) + bytes(65536)
LVM = (
    bytes(512)
    + b"LABELONE"
    + bytes(3576 + 4)
    + b" LVM2 x[5A%r0N*>"
    + bytes(20)
    + struct.pack("<QQ", 512, 400)
)
LVM = (
    LVM.ljust(4096 + 512, b"\0")
    + b"""extent_size = 8192
pe_start = 2048
logical_volumes {
root {
id = "x"
segment_count = 1
segment1 {
start_extent = 0
extent_count = 3
type = "striped"
stripe_count = 1
stripes = [
"pv0", 0
]
}
}
}
"""
)
ISO = bytes(32768) + b"\x01CD001\x01".ljust(2048, b"\0") + b"\xffCD001\x01".ljust(2048, b"\0") + bytes(8192)
OVF = b"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="f" ovf:href="disk.raw"/></References>
<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f"/></DiskSection>
<Item><InstanceID>1</InstanceID><ResourceType>17</ResourceType>
<HostResource>ovf:/disk/d</HostResource><Parent>3</Parent></Item></Envelope>"""
BOX = [
    ("metadata.json", b'{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'),
    ("box.img", QCOW2),
]
DISK = bytes(510) + b"\x55\xaa" + bytes(4096)
CONTAINER = [("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _layout() -> list[tuple[str, bytes]]:
    layer = b"x" * 10
    config = json.dumps({"rootfs": {"diff_ids": [f"sha256:{_digest(layer)}"]}}).encode()
    described = [{"digest": f"sha256:{_digest(part)}", "size": len(part)} for part in (config, layer)]
    manifest = json.dumps({"config": described[0], "layers": described[1:]}).encode()
    index = json.dumps(
        {"manifests": [{"digest": f"sha256:{_digest(manifest)}", "size": len(manifest)}]}
    ).encode()
    return [
        *CONTAINER,
        ("index.json", index),
        *((f"blobs/sha256/{_digest(part)}", part) for part in (manifest, config, layer)),
    ]


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/disk.raw", DISK)
        archive.writestr("../x", b"x")
    return buffer.getvalue()


def _opened(data: bytes, place: Path) -> object:
    """What `imagebuild test IMAGE` does before anything boots."""
    file, work = place / "image", place / "work"
    file.write_bytes(data)
    work.mkdir()
    any_image.recognise(file)
    any_image.refused_for(file)
    unpacked = any_image._unpacked(file, work, 4)
    if unpacked.format != "iso":
        disk_image.refuse_outside(unpacked.disk, unpacked.format, what="x")
    return unpacked


def _problems(data: bytes, place: Path) -> object:
    file = place / "image"
    file.write_bytes(data)
    with file.open("rb") as stream:
        vmdk.is_stream_optimized(stream)
    vhd.has_footer(file)
    return [
        record(file)
        for record in (vhd.problems, vhdx.problems, ova.problems, gce.problems, container_disk.problems)
    ]


def _described(data: bytes, place: Path) -> object:
    files = {
        "x.ovf": place / "x.ovf",
        "disk.raw": place / "disk.raw",
        "metadata.json": place / "metadata.json",
    }
    files["x.ovf"].write_bytes(data)
    files["disk.raw"].write_bytes(DISK)
    files["metadata.json"].write_bytes(data)
    return archives.disk_in({name: file for name, file in files.items() if name != "metadata.json"}, "x")


def _metadata(data: bytes, place: Path) -> object:
    files = {"metadata.json": place / "metadata.json", "box.img": place / "box.img"}
    files["metadata.json"].write_bytes(data)
    files["box.img"].write_bytes(b"QFI\xfb")
    return archives.disk_in(files, "x")


def _map(data: bytes, place: Path) -> object:
    file = place / "disk"
    file.write_bytes(data)
    for start in (0, 512):
        disk_map.content_at(file, start)
        disk_map._volumes(file, start)
    for kind in ("ext4", "xfs"):
        block = data[:4096]
        if len(block) == 4096:
            compatibility.unreadable(block, kind, grub=None, kernel=(6, 1))
    return disk_map._with_gaps([], len(data)), disk_map._gpt_of_large_blocks(file)


def _iso(data: bytes, place: Path) -> object:
    file = place / "x.iso"
    file.write_bytes(data)
    return iso.is_image(file), iso.volume_id(file), iso.implanted_md5(file), iso.identifier(file)


READERS = (
    Reader(
        name="disks",
        read=_opened,
        contents=changed([QCOW2, BACKED, DATA_FILE, EMBEDDED, DESCRIPTION, VHDX, VHD, DISK], most=2),
        cases=25,
    ),
    Reader(name="archives", read=_opened, contents=tars([("disk.raw", DISK)]) | changed([_zip()]), cases=40),
    Reader(name="boxes", read=_opened, contents=packed(tars(BOX)), cases=12),
    Reader(name="OCI layouts", read=_opened, contents=tars(_layout()), cases=25),
    Reader(
        name="what is wrong with downloads",
        read=_problems,
        contents=changed([VHDX, VHD, EMBEDDED]) | tars(_layout()),
        cases=25,
    ),
    Reader(name="OVF", read=_described, contents=changed([OVF])),
    Reader(name="metadata.json of a box", read=_metadata, contents=changed([BOX[0][1]])),
    Reader(name="disk map", read=_map, contents=changed([GPT, LVM, DISK])),
    Reader(name="ISO", read=_iso, contents=changed([ISO])),
)
