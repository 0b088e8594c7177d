"""A raw disk through a compressor, on all cores: raw.xz (xz(1), .xz format) and raw.zst (RFC 8878).

Both compress in blocks of a fixed size, so that the result does not depend on how many threads were at work.
"""

import os
from pathlib import Path

from imagebuild.config.images import CompressionConfig
from imagebuild.formats import Source, Unpacked
from imagebuild.kinds import Controller
from imagebuild.tools import command
from imagebuild.tools.qemu.export import exported

XZ_BLOCK = "--block-size=24MiB"


def write_xz(source: Source, out: Path, name: str, options: CompressionConfig) -> Path:
    """Write NAME.raw.xz. At least two threads: with one, xz writes block headers without sizes."""
    threads = max(2, os.cpu_count() or 2)
    return _write(
        source,
        out / f"{name}.raw.xz",
        ["xz", "--stdout", f"-{options.level}", f"--threads={threads}", XZ_BLOCK, "--check=crc64"],
    )


def write_zst(source: Source, out: Path, name: str, options: CompressionConfig) -> Path:
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
