"""Files: replaced in one step, never changed in place (others read them, and they may be hard links); and
what is in one.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

from imagebuild.errors import BuildError

# linux/fs.h: _IOW(0x94, 9, int)
FICLONE = 0x40049409
FILE_URL = "file://"
CANNOT_SHARE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)
COPIED = 1 << 20


def url(path: Path) -> str:
    """Return the file:// address of an absolute path; whatever an address would take for its own is quoted
    (RFC 8089, RFC 3986).
    """
    return FILE_URL + quote(os.fsencode(path), safe="/:@+,=~")


def path_of(address: str) -> Path:
    """Return the path that a file:// address means.

    `#` and `?` are the path's there: no file has a fragment or a query. libostree (2022.7,
    ostree-fetcher-uri.c) unquotes, too, but cuts at `#`: it is given `url(path_of(address))`.
    """
    return Path(unquote(address.removeprefix(FILE_URL), errors="surrogateescape"))


def replace(file: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file so that readers see the old content or the new one, and links to the old one keep it."""
    data = content.encode() if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    name = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
        name.replace(file)
        sync_directory(file.parent)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def new_directory(parent: Path, name: str) -> Path:
    """Make a directory that was not there before and is to stay; its name begins with `name`."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        with contextlib.suppress(FileExistsError):
            made = parent / f"{name}-{secrets.token_hex(4)}"
            made.mkdir(mode=0o700)
            return made


def clone(source: Path, target: Path) -> None:
    """Copy a file; its blocks are shared where the file system can (ioctl_ficlone(2))."""
    with source.open("rb") as data, target.open("wb") as stream:
        try:
            fcntl.ioctl(stream, FICLONE, data.fileno())
        except OSError as error:
            if error.errno not in CANNOT_SHARE:
                raise
            shutil.copyfileobj(data, stream, COPIED)


def sha256(file: Path) -> str:
    """Read a file once and return its SHA-256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def locked(file: Path, *, busy: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock (flock(2)) that ends with its process; when another holds it, wait, or raise BuildError,
    which says that it is `busy`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise BuildError(busy, hint="wait until it is over, then run the same command again") from error
        yield


def sync_tree(directory: Path) -> None:
    """Have a directory and everything below it on the disk."""
    for parent, _, names in os.walk(directory):
        for name in names:
            with (Path(parent) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_directory(Path(parent))


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk (fsync(2))."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
