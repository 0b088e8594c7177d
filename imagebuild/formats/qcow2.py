"""qcow2 (docs/interop/qcow2.txt of QEMU): compressed clusters; version 2 (`compat=0.10`) for readers from
before 2012.
"""

from pathlib import Path

from imagebuild.config.images import Qcow2Config
from imagebuild.formats import Source, Unpacked
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

SUFFIX = "qcow2"


def write(source: Source, out: Path, name: str, options: Qcow2Config) -> Path:
    """Convert a disk. Compressing with zstd costs a seventh of zlib's time and is smaller, but wants QEMU 5.1
    to read.
    """
    file = out / f"{name}.{SUFFIX}"
    settings = [f"compat={options.compat}"]
    if options.compression == "zstd":
        settings.append("compression_type=zstd")
    disk_image.convert(
        source.disk.file,
        source.disk.format,
        file,
        "qcow2",
        options=tuple(settings),
        compress=options.compression != "none",
    )
    return file


def unpack(file: Path, out: Path) -> Unpacked:
    """Return the file itself: it is booted as it is."""
    del out
    return Unpacked(disk=file, format="qcow2", controller=Controller.VIRTIO)
