"""ISO 9660 images through xorriso and isomd5sum: looked into, and tested against their checksum.

Sources: ECMA-119 (the volume descriptors), xorriso(1), checkisomd5(1).
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command

SECTOR = 2048
DESCRIPTOR = 16 * SECTOR
APPLICATION_AREA = DESCRIPTOR + 883
IMPLANTED = re.compile(rb"ISO MD5SUM = ([0-9a-f]{32});SKIPSECTORS = *(\d+)")


@dataclass(frozen=True, kw_only=True)
class BootEntry:
    """One entry of the El Torito catalogue: `platform` is BIOS or UEFI, `path` empty for what is not a file,
    `start` its first byte.
    """

    platform: str
    path: str
    start: int = 0


def volume_id(image: Path) -> str:
    """Return the label of the file system (ECMA-119, 8.4.7). Raises BuildError when it is not an ISO."""
    return _descriptor(image)[40:72].decode("ascii", "replace").rstrip()


def is_image(file: Path) -> bool:
    """Whether a file is an ISO 9660 image (ECMA-119, 8.1)."""
    with file.open("rb") as stream:
        stream.seek(DESCRIPTOR)
        return stream.read(6) == b"\x01CD001"


def _descriptor(image: Path) -> bytes:
    with image.open("rb") as stream:
        stream.seek(DESCRIPTOR)
        data = stream.read(SECTOR)
    if data[:6] != b"\x01CD001":
        raise BuildError(f"{image} is not an ISO 9660 image", hint="is it a whole download?")
    return data


def implanted_md5(image: Path) -> str:
    """Return the checksum that implantisomd5(1) left in the image; empty when there is none."""
    match = IMPLANTED.search(_descriptor(image)[883 : 883 + 512])
    return match.group(1).decode() if match else ""


def check_md5(image: Path) -> bool:
    """Whether an image is what its implanted checksum says (checkisomd5(1): 0 yes, 1 no or none, 2
    interrupted).
    """
    code, _ = command.status(["checkisomd5", image])
    return code == 0


def address(image: Path) -> str:
    """Return what xorriso calls a file: a plain path below /dev, as of a store in /dev/shm, would be a burner
    (xorriso(1), "Libburn drives").
    """
    return f"stdio:{image}"


def boot_entries(image: Path) -> tuple[BootEntry, ...]:
    """Return the El Torito entries, the default first."""
    said = command.run(["xorriso", "-indev", address(image), "-report_el_torito", "plain"], quiet=True)
    images = re.findall(r"^El Torito boot img :\s+(\d+)\s+(\S+).*?(\d+)$", said, re.MULTILINE)
    paths = dict(re.findall(r"^El Torito img path :\s+(\d+)\s+(.+)$", said, re.MULTILINE))
    return tuple(
        BootEntry(platform=kind, path=paths.get(number, ""), start=int(block) * SECTOR)
        for number, kind, block in images
    )


def listing(image: Path) -> list[str]:
    """Return the paths of an image, each with a leading slash."""
    said = command.run(["xorriso", "-indev", address(image), "-find", "/"], quiet=True)
    return [line.strip().strip("'") for line in said.splitlines() if line.startswith("'")]


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where a file's content lies in an image, in bytes."""

    start: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Content:
    """What an image has: its plain files (of one in several pieces: the first), and the paths of links and of
    directories.
    """

    files: Mapping[str, Extent]
    links: frozenset[str]
    directories: frozenset[str]


def content(image: Path) -> Content:
    """Return what an image has."""
    find = ["-find", "/", "-type"]
    said = command.run(
        [
            *["xorriso", "-indev", address(image), *find, "f", "-exec", "report_lba", "--"],
            *["-print", "LINKS", *find, "l", "--", "-print", "DIRECTORIES", *find, "d"],
        ],
        quiet=True,
    )
    listed, _, rest = (
        said.partition("\nLINKS\n") if "\nLINKS\n" in said else ("", "", said.removeprefix("LINKS\n"))
    )
    links, _, directories = rest.partition("DIRECTORIES\n")
    rows = re.findall(
        r"^File data lba:\s+0\s*,\s*(\d+)\s*,\s*\d+\s*,\s*(\d+)\s*,\s*(.+)$", listed, re.MULTILINE
    )
    return Content(
        files={
            _unquoted(name): Extent(start=int(number) * SECTOR, size=int(size)) for number, size, name in rows
        },
        links=frozenset(_unquoted(line) for line in links.splitlines()),
        directories=frozenset(_unquoted(line) for line in directories.splitlines()),
    )


def _unquoted(name: str) -> str:
    """Return a name as it is: xorriso quotes it as a shell would. One with a line feed in it is left as it
    is: nobody asks for it.
    """
    try:
        return "".join(shlex.split(name))
    except ValueError:
        return name


def identifier(image: Path) -> str:
    """Return what GRUB calls the file system's UUID: when it was changed (ECMA-119, 8.4.27; GRUB's
    fs/iso9660.c).
    """
    digits = _descriptor(image)[830:846].decode("ascii", "replace")
    return "-".join((digits[:4], *(digits[start : start + 2] for start in range(4, 16, 2))))


def offset_of(image: Path, path: str) -> int:
    """Return where a file's content begins in an image, in bytes. Raises BuildError when there is no such
    file.
    """
    said = command.run(
        ["xorriso", "-indev", address(image), "-find", path, "-exec", "report_lba"], quiet=True
    )
    match = re.search(r"^File data lba:\s+\d+\s*,\s*(\d+)", said, re.MULTILINE)
    if match is None:
        raise BuildError(f"{image.name} has no {path}")
    return int(match.group(1)) * SECTOR


def read(image: Path, path: str, work: Path) -> bytes:
    """Return one file of an image; `work` is a directory to extract it into. Raises BuildError."""
    target = work / "extracted"
    target.unlink(missing_ok=True)
    command.run(
        ["xorriso", "-osirrox", "on", "-indev", address(image), "-extract_single", path, target], quiet=True
    )
    _refuse_link(image, path, target, work)
    if not target.is_file():
        raise BuildError(f"{image.name} has no {path}")
    data = target.read_bytes()
    target.unlink()
    return data


def extract(image: Path, paths: Sequence[str], directory: Path) -> dict[str, Path]:
    """Extract files into a directory, below their own paths; return path -> file for those that there are."""
    present = set(listing(image))
    files = {path: directory / path.lstrip("/") for path in paths if path in present}
    argv: list[str | Path] = ["xorriso", "-osirrox", "on", "-indev", address(image)]
    for path, file in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        argv += ["-extract", path, file]
    if files:
        command.run(argv, quiet=True)
    for path, file in files.items():
        _refuse_link(image, path, file, directory)
        file.chmod(0o644)
    return files


def _refuse_link(image: Path, path: str, file: Path, directory: Path) -> None:
    """Refuse what leads out of the directory it was extracted into: an image of others may hold links to
    anywhere.
    """
    if file.is_symlink() or not file.resolve().is_relative_to(directory.resolve()):
        file.unlink(missing_ok=True)
        raise BuildError(f"{path} of {image.name} is a symbolic link", hint="where did you get that image?")
