"""The archive of which Compute Engine makes an image: `disk.raw` and nothing else, in a tar of GNU's format,
in gzip; the disk in whole GiB (its "Manually import boot disks": "Compress the image").
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO

from pydantic import Field

from imagebuild import steplog
from imagebuild.config.fields import Model
from imagebuild.formats import bounded
from imagebuild.formats.format import Format, Source, Unpacked, refuse
from imagebuild.kinds import Controller
from imagebuild.tools.qemu.export import exported

GIB = 1 << 30
MEMBER = "disk.raw"
# what is read and written at once; tarfile's own is 10 KiB
BUFFER = 1 << 20
# what GNU's format has where POSIX' has "ustar\0" and a version (tar(5))
GNU_MAGIC, MAGIC_AT = b"ustar  \0", 257
DAMAGE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)


class GceConfig(Model):
    """How hard the archive is compressed with gzip."""

    level: int = Field(default=6, ge=1, le=9)


def write(source: Source, out: Path, name: str, options: GceConfig) -> Path:
    """Write NAME.tar.gz; the disk is made larger, by zeros, up to the next whole GiB."""
    file = out / f"{name}.tar.gz"
    info = tarfile.TarInfo(MEMBER)
    info.size, info.mode, info.mtime = -(-source.disk.size // GIB) * GIB, 0o644, source.epoch
    if info.size != source.disk.size:
        steplog.note(f"the disk of {source.disk.size} bytes is made {info.size >> 30} GiB large")
    with (
        exported(source.disk.file, source.disk.format, writable=False) as raw,
        raw.open("rb") as disk,
        file.open("wb") as stream,
        gzip.GzipFile(
            filename="", mode="wb", fileobj=stream, compresslevel=options.level, mtime=source.epoch
        ) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, bufsize=BUFFER) as tar,
    ):
        tar.addfile(info, _Lengthened(disk))
    return file


class _Lengthened(io.RawIOBase):
    """A stream, and zeros for ever after its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        """Return exactly `size` bytes."""
        return self._stream.read(size).ljust(size, b"\0")


def problems(file: Path) -> list[str]:
    """Return what Compute Engine would refuse an archive for, a sentence each."""
    return _read(file, None)


def _read(file: Path, target: Path | None) -> list[str]:
    """Return what is wrong; on the way write the disk to `target`, when one is given."""
    try:
        with bounded.stream_of(file, ("gz",)) as stream:
            return _look(stream, file.name, target)
    except DAMAGE as error:
        return [f"it is damaged: {error}"]


def _look(stream: IO[bytes], name: str, target: Path | None) -> list[str]:
    found, watched = list[str](), _Beginning(stream)
    with tarfile.open(fileobj=watched, mode="r|", bufsize=BUFFER, tarinfo=bounded.CheckedInfo) as tar:
        for number, member in enumerate(tar):
            if number or member.name != MEMBER or not member.isreg():
                found.append(f"it has {member.name!r} besides one plain {MEMBER}")
                break
            if member.size % GIB or not member.size:
                found.append(f"its disk has {member.size} bytes, which is not in whole GiB")
            if member.size > bounded.LARGEST:
                found.append(f"its disk has {member.size >> 30} GiB")
                break
            content = tar.extractfile(member)
            if target is not None and content is not None:
                bounded.write(content, target, name)
        else:
            found += [] if tar.offset else [f"it has no {MEMBER}"]
    if watched.head[MAGIC_AT : MAGIC_AT + len(GNU_MAGIC)] != GNU_MAGIC:
        found.append("it is not in GNU's format of tar")
    while stream.read(bounded.CHUNK):
        pass
    return found


class _Beginning(io.RawIOBase):
    """A stream whose first block is kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.head = stream, b""

    def read(self, size: int = -1, /) -> bytes:
        """Read on."""
        data = self._stream.read(size)
        if len(self.head) < tarfile.BLOCKSIZE:
            self.head = (self.head + data)[: tarfile.BLOCKSIZE]
        return data


def unpack(file: Path, out: Path) -> Unpacked:
    """Unpack the disk, which Compute Engine attaches by virtio-scsi. Raises BuildError for what it would
    refuse.
    """
    disk = out / MEMBER
    refuse(file.name, _read(file, disk))
    return Unpacked(disk=disk, format="raw", controller=Controller.VIRTIO_SCSI)


def is_archive(members: Collection[str]) -> bool:
    """Whether an archive with these members is one for Compute Engine."""
    return set(members) == {MEMBER}


FORMAT = Format(
    name="gce",
    options=GceConfig,
    write=write,
    unpack=unpack,
    problems=problems,
    suffix="tar.gz",
    # what reads it; zlib writes it
    tools=("gzip",),
    cores=1,
    members=is_archive,
    productmd=("tar-gz", "tar.gz"),
    cosa="gcp",
    clouds=(frozenset({"GCE"}),),
    title="Compute Engine image (tar.gz)",
    column="GCE",
    text="Copy it into a bucket of Cloud Storage first.",
    command="gcloud compute images create IMAGE --source-uri gs://BUCKET/{name}",
)
