"""A raw disk through a compressor, on all cores: raw.xz (xz(1), .xz format) and raw.zst (RFC 8878).

Both compress in blocks of a fixed size, so that the result does not depend on how many threads were at work.
"""

import os
from pathlib import Path

from pydantic import Field

from imagebuild.config.fields import Model
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
    """Write NAME.raw.xz. At least two threads: with one, xz writes block headers without sizes."""
    threads = max(2, os.cpu_count() or 2)
    return _write(
        source,
        out / f"{name}.raw.xz",
        ["xz", "--stdout", f"-{options.level}", f"--threads={threads}", XZ_BLOCK, "--check=crc64"],
    )


def write_zst(source: Source, out: Path, name: str, options: ZstdConfig) -> Path:
    """Write NAME.raw.zst, with the content's checksum and size in the frame."""
    return _write(
        source,
        out / f"{name}.raw.zst",
        ["zstd", "--stdout", "--quiet", f"-{options.level}", "-T0", "--check"],
    )


def _write(source: Source, file: Path, argv: list[str]) -> Path:
    with (
        exported(source.disk.file, source.disk.format, writable=False) as raw,
        file.open("wb") as stream,
    ):
        command.run([*argv, raw], stdout=stream)
    return file


def unpack_xz(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would (`xz -d`); runs of zeros become holes."""
    return _unpack(["xz", "--decompress", "--stdout", "--threads=0", file], out)


def unpack_zst(file: Path, out: Path) -> Unpacked:
    """Decompress as a user would (`zstd -d`)."""
    return _unpack(["zstd", "--decompress", "--stdout", "--quiet", file], out)


def _unpack(argv: list[str | Path], out: Path) -> Unpacked:
    target = out / "disk.raw"
    with target.open("wb") as stream:
        command.pipe(argv, ["dd", "conv=sparse", "bs=1M", "iflag=fullblock", "status=none"], stdout=stream)
        # dd leaves a hole at the end unwritten
        end = os.lseek(stream.fileno(), 0, os.SEEK_CUR)
        stream.truncate(max(end, target.stat().st_size))
    return Unpacked(disk=target, format="raw", controller=Controller.VIRTIO)


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
