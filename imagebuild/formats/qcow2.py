"""qcow2 (docs/interop/qcow2.txt of QEMU): compressed clusters; version 2 (`compat=0.10`) for readers from
before 2012.
"""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from imagebuild.config.fields import Model
from imagebuild.formats.format import CLOUDS, Format, Magic, Source, Unpacked
from imagebuild.kinds import Controller
from imagebuild.tools.qemu import disk_image

SUFFIX = "qcow2"


class Qcow2Config(Model):
    """How qcow2 files are written (qemu-img(1), qcow2)."""

    compat: Literal["0.10", "1.1"] = "1.1"
    compression: Literal["zlib", "zstd", "none"] = "zlib"

    @model_validator(mode="after")
    def _readable(self) -> "Qcow2Config":
        if self.compat == "0.10" and self.compression == "zstd":
            raise ValueError("zstd needs compat 1.1: readers of 0.10 know zlib only")
        return self


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


FORMAT = Format(
    name="qcow2",
    options=Qcow2Config,
    write=write,
    unpack=unpack,
    suffix=SUFFIX,
    tools=("qemu-img",),
    magic=Magic(data=b"QFI\xfb"),
    productmd=("qcow2", "qcow2"),
    cosa="qemu",
    clouds=CLOUDS,
    title="Cloud image (qcow2)",
    text="For OpenStack, libvirt and QEMU; cloud-init takes a key from a seed.",
    command=("{qemu} -drive file={name},if=virtio -drive file=seed.iso,if=virtio,format=raw -nographic"),
)
