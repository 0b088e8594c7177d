"""What is packed, read as a stream and unpacked into a file within bounds: of size, of memory, of the room
that there is. Runs of zeros become holes.
"""

import contextlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from imagebuild.errors import BuildError
from imagebuild.tools import command

HOSTILE = "where did you get that image?"
LARGEST = 1 << 40
CHUNK = 1 << 18
# members of a tar archive that say something of the next one (tar(5)), and how large they may be
HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
LARGEST_HEADER = 1 << 20
# bytes that stay free in the file system that is unpacked into, and how many may be written before they are
# looked at again
RESERVE, BETWEEN = 256 << 20, 64 << 20

# an .xz may ask for a dictionary of 4 GiB
COMPRESSIONS = {
    "xz": ("xz", "--decompress", "--stdout", "--threads=0", "--memlimit-decompress=1GiB"),
    "zst": ("zstd", "--decompress", "--stdout", "--quiet"), "gz": ("gzip", "--decompress", "--stdout"),
    "bz2": ("bzip2", "--decompress", "--stdout"), "lz4": ("lz4", "--decompress", "--stdout", "--quiet"),
}  # fmt: skip


@contextlib.contextmanager
def stream_of(file: Path, packed: Sequence[str], *, whole: bool = True) -> Iterator[IO[bytes]]:
    """Open what is in a file for reading. Raises BuildError at the end when it does not unpack to its end
    (`whole`).
    """
    with contextlib.ExitStack() as stack:
        stream: IO[bytes] = stack.enter_context(file.open("rb"))
        processes = []
        for kind in packed:
            read_end, write_end = os.pipe()
            with os.fdopen(write_end, "wb") as sink:
                processes.append(
                    command.Process(COMPRESSIONS[kind], stdin=stream, stdout=sink, quiet=not whole)
                )
            stack.callback(processes[-1].end)
            stream = stack.enter_context(os.fdopen(read_end, "rb"))
        yield stream
        if not whole:
            return
        for process, kind in zip(processes, packed, strict=True):
            if process.wait() != 0:
                raise BuildError(
                    f"{file.name} is damaged: {kind} said {process.complaint().strip()[-300:]!r}",
                    hint="is it a whole download?",
                )


def write(stream: IO[bytes], target: Path, what: str) -> Path:
    """Write a stream to a file, runs of zeros as holes. Raises BuildError for what is larger than 1 TiB, or
    than there is room.
    """
    try:
        return _write(stream, target, what)
    except OSError as error:
        raise BuildError(
            f"{what} cannot be unpacked into {target.parent}: {error.strerror or error}"
        ) from error


def _write(stream: IO[bytes], target: Path, what: str) -> Path:
    size = unchecked = 0
    with target.open("wb") as copy:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            if size > LARGEST:
                raise BuildError(f"{what} unpacks to more than {LARGEST >> 40} TiB", hint=HOSTILE)
            if chunk.count(0) == len(chunk):
                copy.seek(len(chunk), os.SEEK_CUR)
                continue
            unchecked += len(chunk)
            if unchecked >= BETWEEN or size == len(chunk):
                refuse_full(target.parent, len(chunk), what)
                unchecked = 0
            copy.write(chunk)
        copy.truncate(size)
    return target


class CheckedInfo(tarfile.TarInfo):
    """A member of an archive whose own headers are small: Python reads a long name, or the records of a pax
    header, into memory whatever their size (CPython 3.11, tarfile.py, _proc_gnulong and _proc_pax).
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in HEADERS and self.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]  # CPython's own door
        return member


def refuse_full(directory: Path, needed: int, what: str) -> None:
    """Raise BuildError when a file system has no room for so many bytes more."""
    there = os.statvfs(directory)
    if there.f_bavail * there.f_frsize < needed + RESERVE:
        raise BuildError(
            f"there is no room for what {what} unpacks to in {directory}",
            hint="set TMPDIR to a directory with more",
        )
