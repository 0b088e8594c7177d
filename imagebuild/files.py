"""Files: replaced in one step, never changed in place (others read them, and they may be hard links); and what is in one."""

import hashlib
import os
import tempfile
from pathlib import Path


def replace(file: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file so that readers see the old content or the new one, and links to the old one keep it."""
    data = content.encode() if isinstance(content, str) else content
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sha256(file: Path) -> str:
    """Read a file once and return its SHA-256 in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
