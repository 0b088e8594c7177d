"""CHECKSUM files: for each file its size and SHA-256, sorted, clear-signed.

Format (pungi's media_checksums): `# NAME: SIZE bytes` and `SHA256 (NAME) = HEX`, two lines a file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.errors import BuildError

CHUNK = 1 << 22
SIZE = re.compile(r"# (?P<name>[^\x00-\x1f]+): (?P<size>[0-9]{1,18}) bytes")
SUM = re.compile(r"SHA256 \((?P<name>[^\x00-\x1f]+)\) = (?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, order=True, kw_only=True)
class HashedFile:
    """One file: its name (or path below the CHECKSUM file's directory), size in bytes, SHA-256 in
    hexadecimal.
    """

    name: str
    size: int
    sha256: str


def text_of(entries: Iterable[HashedFile]) -> str:
    """Return the text that is signed. Raises BuildError for a name that cannot stand in it."""
    lines: list[str] = []
    for entry in sorted(entries):
        check_name(entry.name)
        lines += [f"# {entry.name}: {entry.size} bytes", f"SHA256 ({entry.name}) = {entry.sha256}"]
    return "\n".join(lines) + "\n"


def entries_of(payload: bytes, *, what: str) -> dict[str, HashedFile]:
    """Return name -> entry of a signed payload. Raises BuildError naming the line: it came from outside."""
    try:
        lines = payload.decode().splitlines()
    except UnicodeDecodeError as error:
        raise BuildError(f"{what}: is not text") from error
    found: dict[str, HashedFile] = {}
    size: re.Match[str] | None = None
    for number, line in enumerate(lines, 1):
        if size is None:
            size = SIZE.fullmatch(line)
            if size is None:
                raise BuildError(f"{what}: line {number} of the signed text is not a size: {line!r}")
            continue
        digest = SUM.fullmatch(line)
        if digest is None or digest["name"] != size["name"]:
            raise BuildError(
                f"{what}: line {number} of the signed text is not the checksum of {size['name']!r}: {line!r}"
            )
        check_name(digest["name"])
        if digest["name"] in found:
            raise BuildError(f"{what}: lists {digest['name']!r} twice")
        found[digest["name"]] = HashedFile(
            name=digest["name"], size=int(size["size"]), sha256=digest["digest"]
        )
        size = None
    if size is not None:
        raise BuildError(f"{what}: ends after the size of {size['name']!r}")
    return found


def check_name(name: str) -> None:
    """Raise BuildError for a path that would leave its directory, or that cannot stand in a line."""
    parts = name.split("/")
    if (
        not name
        or any(part in ("", ".", "..") for part in parts)
        or re.search(r"[\x00-\x1f\x7f\\()<>\"]", name)
    ):
        raise BuildError(
            f"{name!r} is not a name that a release may list: no separators at its ends, no `..`, no control"
            " or markup characters"
        )


def hashed(file: Path, name: str) -> HashedFile:
    """Read a file once and return its entry."""
    return HashedFile(name=name, size=file.stat().st_size, sha256=files.sha256(file))


def safe(name: str) -> str:
    """Return a name that can stand in a CHECKSUM file and in an address: evidence is named after what guests
    say of themselves.
    """
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name)
