"""Files: replaced in one step, never changed in place (others read them, and they may be hard links); what is
in one; locks; and when they are on the disk.
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
# errno(3): what a machine lacks or forbids, whatever the program does
OF_THE_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EMFILE,
    errno.ENFILE, errno.ENODEV, errno.ESTALE,
)  # fmt: skip
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
CANNOT_SHARE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)
COPIED = 1 << 20


def url(path: Path) -> str:
    """Return the file:// address of an absolute path; what has a meaning in addresses is quoted
    (RFC 8089, RFC 3986).
    """
    return FILE_URL + quote(os.fsencode(path), safe="/:@+,=~")


def path_of(address: str) -> Path:
    """Return the path that a file:// address means.

    `#` and `?` are the path's there: no file has a fragment or a query. libostree (2022.7,
    ostree-fetcher-uri.c) unquotes, too, but cuts at `#`: it is given `url(path_of(address))`.
    """
    return Path(unquote(address.removeprefix(FILE_URL), errors="surrogateescape"))


def explained(error: OSError, place: Path | None = None) -> BuildError | None:
    """Return an error of the system as a sentence, when it is the machine's: what it says, and where (the
    file that the error names, or `place`). None for anything else.
    """
    if error.errno not in OF_THE_MACHINE:
        return None
    where = error.filename if error.filename is not None else place
    message = f"{os.fsdecode(where) if where is not None else 'a file'}: {error.strerror}"
    if error.errno not in NO_SPACE:
        return BuildError(message, hint="look at that file system: how is it mounted, who may write there?")
    free = _free(Path(os.fsdecode(where))) if where is not None else None
    return BuildError(
        message if free is None else f"{message} ({free / 1e6:.1f} MB are free there)",
        hint="make space (imagebuild gc frees what older builds left), then run the same command again",
    )


def _free(path: Path) -> int | None:
    """Return the bytes that are free where a path lies, or would lie."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name a file: what fails while it is written to does not by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def replace(file: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file so that readers see the old content or the new one, and links to the old one keep it."""
    data = content.encode() if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with naming(file), os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
        partial.replace(file)
        sync(file.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
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
    with naming(target), source.open("rb") as data, target.open("wb") as stream:
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


def create(file: Path, content: str) -> None:
    """Write a file that must not be there yet, and have it on the disk. Raises FileExistsError."""
    with naming(file), file.open("x") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    sync(file.parent)


# --- locks (flock(2)): they end with their process ----------------------------------------------------------


def try_lock(handle: int) -> bool:
    """Lock an open file unless another has it; return whether it is ours now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(handle: int) -> None:
    """Lock an open file as soon as nobody else has it."""
    fcntl.flock(handle, fcntl.LOCK_EX)


@contextlib.contextmanager
def locked(file: Path, *, busy: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock; when another holds it, wait, or raise BuildError, which says that it is `busy`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        if wait:
            wait_for_lock(stream.fileno())
        elif not try_lock(stream.fileno()):
            raise BuildError(busy, hint="wait until it is over, then run the same command again")
        yield


# --- on the disk, not only in memory (fsync(2)) -------------------------------------------------------------


def sync(path: Path) -> None:
    """Have a file's content, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """Have a directory and everything below it on the disk; links are not followed."""
    for parent, _, names in os.walk(directory):
        for path in (Path(parent) / name for name in names):
            if path.is_file() and not path.is_symlink():
                sync(path)
        sync(Path(parent))
