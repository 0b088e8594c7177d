"""What a failed step left, as it travels to the client: a tar archive in memory. It was written on another
machine and may hold what a guest wrote: of it only files and directories are taken, below one directory.
"""

import io
import shutil
import tarfile
import zlib
from pathlib import Path

from imagebuild.engine.store import remove
from imagebuild.formats.bounded import CheckedInfo
from imagebuild.tools import temporary

# a larger file stays where it is, and all of them together are not larger than that
LARGEST, LARGEST_TOGETHER = 64 * 1024 * 1024, 256 * 1024 * 1024
# files and directories in one
MOST = 100_000
# what tarfile and gzip raise besides their own, and a name with a NUL in it
DAMAGE = (zlib.error, EOFError, ValueError, OverflowError, RecursionError)
LEFT_BEHIND = "left-on-the-worker"


def pack(directory: Path) -> bytes:
    """Return a directory as an archive; what is too large to be sent is named in a file of it."""
    buffer, left, whole = io.BytesIO(), list[str](), 0
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for file in sorted(directory.rglob("*")):
            name = str(file.relative_to(directory))
            if not (file.is_dir() or file.is_file()) or file.is_symlink():
                continue
            size = file.stat().st_size if file.is_file() else 0
            if size > LARGEST or whole + size > LARGEST_TOGETHER:
                left.append(f"{file} ({size} bytes)\n")
                continue
            whole += size
            archive.add(file, name, recursive=False)
        if left:
            text = "".join(left).encode()
            told = tarfile.TarInfo(LEFT_BEHIND)
            told.size = len(text)
            archive.addfile(told, io.BytesIO(text))
    return buffer.getvalue()


def unpack(data: bytes, target: Path) -> None:
    """Put what was packed at `target`, in place of what is there. Raises OSError; tarfile.TarError for what
    `pack` would not have made: damaged, larger than that makes it, leading elsewhere.
    """
    with temporary.within(target.parent, target.name) as made:
        whole = made / "all"
        whole.mkdir()
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz", tarinfo=CheckedInfo) as archive:
                _extract_all(archive, whole)
        except DAMAGE as error:
            raise tarfile.ReadError(f"it is damaged: {error}") from error
        remove(target)
        whole.rename(target)


def _extract_all(archive: tarfile.TarFile, whole: Path) -> None:
    together = 0
    for number, member in enumerate(archive):
        together += member.size
        if number >= MOST or not 0 <= member.size <= together <= LARGEST_TOGETHER + LARGEST:
            raise tarfile.ReadError("it is larger than what is sent")
        _extract(archive, member, whole)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, whole: Path) -> None:
    # `extractall(filter="data")` came with Python 3.11.4, and Debian 12 has 3.11.2
    parts = Path(member.name).parts
    content = archive.extractfile(member) if member.isfile() else None
    if ".." in parts or Path(member.name).is_absolute() or not (member.isdir() or content is not None):
        raise tarfile.ReadError(f"{member.name!r} is neither a file nor a directory of what was packed")
    place = whole / member.name
    if content is None:
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("xb") as stream:
        shutil.copyfileobj(content, stream)
