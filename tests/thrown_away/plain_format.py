"""A download that is the disk after eight bytes."""

from pathlib import Path

from imagebuild.config.fields import Model
from imagebuild.formats.format import CLOUDS, Format, Magic, Source, Unpacked
from imagebuild.kinds import Controller

HEAD = b"PLAINDSK"


class PlainConfig(Model):
    """How often the head is written."""

    heads: int = 1


def write(source: Source, out: Path, name: str, options: PlainConfig) -> Path:
    file = out / f"{name}.plain"
    file.write_bytes(HEAD * options.heads + source.disk.file.read_bytes())
    return file


def unpack(file: Path, out: Path) -> Unpacked:
    disk = out / "disk"
    disk.write_bytes(file.read_bytes().removeprefix(HEAD))
    return Unpacked(disk=disk, format="raw", controller=Controller.IDE)


RECORD = Format(
    name="plain",
    options=PlainConfig,
    write=write,
    unpack=unpack,
    suffix="plain",
    tools=("cat",),
    magic=Magic(data=HEAD),
    productmd=("raw", "raw"),
    cosa="plain",
    clouds=CLOUDS,
    title="Plain disk",
    command="tail -c +9 {name}",
)
