"""A raw disk through a compressor, on all cores: raw.xz (xz(1), .xz format) and raw.zst (RFC 8878).

Both compress in blocks of a fixed size, so that the result does not depend on how many threads were at work.
"""

import os
from pathlib import Path

from pydantic import Field

from imagebuild.config.fields import Model
from imagebuild.formats import bounded
from imagebuild.formats.format import CLOUDS, Format, Source, Unpacked
from imagebuild.kinds import Controller
from imagebuild.tools import command
from imagebuild.tools.qemu.export import exported

XZ_BLOCK = "--block-size=24MiB"


class XzConfig(Model):
    """How hard a raw disk is compressed with xz. Each step costs about half as much again."""

    level: int = Field(default=6, ge=0, le=9)


class ZstdConfig(Model):
    """How hard a raw disk is compressed with zstd. Each step costs about half as much again."""

    level: int = Field(default=6, ge=1, le=19)


def write_xz(source: Source, out: Path, name: str, options: XzConfig) -> Path:
    """Write NAME.raw.xz."""
    with exported(source.disk.file, source.disk.format, writable=False) as raw:
        return compress(raw, out / f"{name}.raw.xz", xz(options.level))


def write_zst(source: Source, out: Path, name: str, options: ZstdConfig) -> Path:
    """Write NAME.raw.zst, with the content's checksum and size in the frame."""
    argv = ["zstd", "--stdout", "--quiet", f"-{options.level}", "-T0", "--check"]
    with exported(source.disk.file, source.disk.format, writable=False) as raw:
        return compress(raw, out / f"{name}.raw.zst", argv)


def xz(level: int) -> list[str]:
    """Return xz' argv. At least two threads: with one, xz writes block headers without sizes."""
    threads = max(2, os.cpu_count() or 2)
    return ["xz", "--stdout", f"-{level}", f"--threads={threads}", XZ_BLOCK, "--check=crc64"]


def compress(content: Path, file: Path, argv: list[str]) -> Path:
    """Write a file through a compressor, and return what was written."""
    with file.open("wb") as stream:
        command.run([*argv, content], stdout=stream)
    return file


def unpack_xz(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would (`xz -d`)."""
    return _unpack(file, "xz", out)


def unpack_zst(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would (`zstd -d`)."""
    return _unpack(file, "zst", out)


def _unpack(file: Path, kind: str, out: Path) -> Unpacked:
    disk = decompress(file, kind, out / "disk.raw")
    return Unpacked(disk=disk, format="raw", controller=Controller.VIRTIO)


def decompress(file: Path, kind: str, target: Path) -> Path:
    """Decompress within bounds; runs of zeros become holes. Raises BuildError for what is damaged, or too
    large.
    """
    with bounded.stream_of(file, (kind,)) as stream:
        return bounded.write(stream, target, file.name)


XZ = Format(
    name="raw.xz",
    options=XzConfig,
    write=write_xz,
    unpack=unpack_xz,
    suffix="raw.xz",
    tools=("xz",),
    productmd=("raw-xz", "raw.xz"),
    # its `metal` is a raw disk
    cosa="metal",
    clouds=CLOUDS,
    title="Raw disk (xz)",
    text="For other clouds and bare metal.",
    command="xz -dc {name} > disk.raw",
)
ZST = Format(
    name="raw.zst",
    options=ZstdConfig,
    write=write_zst,
    unpack=unpack_zst,
    suffix="raw.zst",
    tools=("zstd",),
    clouds=CLOUDS,
    title="Raw disk (zstd)",
    text="As raw.xz, unpacked in a fraction of the time.",
    command="zstd -d {name} -o disk.raw",
)
