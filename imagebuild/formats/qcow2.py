"""qcow2 (docs/interop/qcow2.txt of QEMU): compressed clusters; version 2 (`compat=0.10`) for readers from before 2012."""

from pathlib import Path

from imagebuild.config import Qcow2Config
from imagebuild.tools import qemu


def write(disk: Path, file: Path, options: Qcow2Config) -> None:
    """Convert a raw disk. Compressing with zstd costs a seventh of zlib's time and is smaller, but wants QEMU 5.1 to read."""
    settings = [f"compat={options.compat}"]
    if options.compression == "zstd":
        settings.append("compression_type=zstd")
    qemu.convert(disk, "raw", file, "qcow2", options=tuple(settings), compress=options.compression != "none")
