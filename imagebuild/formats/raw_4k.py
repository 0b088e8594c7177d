"""A raw disk for drives whose logical blocks have 4096 bytes ("4Kn"), in xz: coreos-assembler's metal4k.

It is a disk of its own (`sector_size` of an image): partition table and file systems count in its blocks, and
what was laid out for 512 bytes cannot be read there (UEFI Specification 2.10, 5.3.2: the GPT's header is in
block 1).
"""

from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.formats import compressed
from imagebuild.formats.compressed import XzConfig
from imagebuild.formats.format import CLOUDS, Format, Source, Unpacked, refuse
from imagebuild.kinds import Controller
from imagebuild.tools.qemu.export import exported

SECTOR, OTHER = 4096, 512
SIGNATURE = b"EFI PART"
FOR_OTHERS = (
    f"its partition table is for blocks of {OTHER} bytes: on a drive with blocks of {SECTOR} no firmware"
    " finds it (set the image's sector_size to 4096)"
)


def write(source: Source, out: Path, name: str, options: XzConfig) -> Path:
    """Write NAME.4k.raw.xz. Raises BuildError for a disk that was laid out for other blocks."""
    with exported(source.disk.file, source.disk.format, writable=False) as raw:
        if found := layout_problems(raw):
            raise BuildError(f"the disk is not for blocks of {SECTOR} bytes: {'; '.join(found)}")
        return compressed.compress(raw, out / f"{name}.4k.raw.xz", compressed.xz(options.level))


def layout_problems(disk: Path) -> list[str]:
    """Return why a raw disk would not be read on a drive with blocks of 4096 bytes, a sentence each."""
    with disk.open("rb") as stream:
        at = {size: (stream.seek(size), stream.read(len(SIGNATURE)))[1] for size in (SECTOR, OTHER)}
    if at[SECTOR] == SIGNATURE:
        size = disk.stat().st_size
        return [f"it has {size} bytes, which are not whole blocks of {SECTOR}"] if size % SECTOR else []
    if at[OTHER] == SIGNATURE:
        return [FOR_OTHERS]
    return ["it has no GPT, without which no firmware boots it"]


def is_for_it(disk: Path) -> bool:
    """Whether a raw disk was laid out for blocks of 4096 bytes."""
    with disk.open("rb") as stream:
        stream.seek(SECTOR)
        return stream.read(len(SIGNATURE)) == SIGNATURE


def unpack(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would; it is booted from an NVMe drive with blocks of 4096 bytes. Raises
    BuildError for a disk that was laid out for others.
    """
    disk = compressed.decompress(file, "xz", out / "disk.raw")
    refuse(file.name, layout_problems(disk))
    return Unpacked(disk=disk, format="raw", controller=Controller.NVME_4K, sector_size=SECTOR)


FORMAT = Format(
    name="raw-4k",
    options=XzConfig,
    write=write,
    unpack=unpack,
    suffix="4k.raw.xz",
    tools=("xz",),
    sector_size=SECTOR,
    productmd=("raw-xz", "raw.xz"),
    cosa="metal4k",
    clouds=CLOUDS,
    title="Raw disk for 4k sectors (xz)",
    column="4k raw.xz",
    text="For bare metal whose drives have logical blocks of 4096 bytes; UEFI only.",
    command="xz -dc {name} | dd of=/dev/nvme0n1 bs=4M oflag=direct",
)
