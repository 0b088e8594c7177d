"""ISO 9660 images through xorriso and isomd5sum: written, looked into, changed, given the checksum that media
are tested with.

Sources: ECMA-119 (the volume descriptors), xorriso(1), xorrisofs(1), implantisomd5(1), checkisomd5(1).
"""

import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command

SECTOR = 2048
DESCRIPTOR = 16 * SECTOR
APPLICATION_AREA = DESCRIPTOR + 883
VOLUME_ID_LENGTH = 32
# the GPT type of an ESP (UEFI 2.10, table 5-7), as lorax appends it
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
IMPLANTED = re.compile(rb"ISO MD5SUM = ([0-9a-f]{32});SKIPSECTORS = *(\d+)")


@dataclass(frozen=True, kw_only=True)
class BootEntry:
    """One entry of the El Torito catalogue: `platform` is BIOS or UEFI, `path` empty for what is no file,
    `start` its first byte.
    """

    platform: str
    path: str
    start: int = 0


def volume_id(image: Path) -> str:
    """Return the label of the file system (ECMA-119, 8.4.7). Raises BuildError for a file that is no ISO."""
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
        raise BuildError(f"{image} is no ISO 9660 image", hint="is it a whole download?")
    return data


def implanted_md5(image: Path) -> str:
    """Return the checksum that implantisomd5(1) left in the image; empty when there is none."""
    match = IMPLANTED.search(_descriptor(image)[883 : 883 + 512])
    return match.group(1).decode() if match else ""


def implant_md5(image: Path) -> str:
    """Write the media checksum into an image and return it. Raises BuildError, MissingToolError."""
    command.run(["implantisomd5", "--force", image])
    return implanted_md5(image)


def check_md5(image: Path) -> bool:
    """Whether an image is what its implanted checksum says (checkisomd5(1): 0 yes, 1 no or none, 2
    interrupted).
    """
    code, _ = command.status(["checkisomd5", image])
    return code == 0


def boot_entries(image: Path) -> tuple[BootEntry, ...]:
    """Return the El Torito entries, the default first."""
    said = command.run(["xorriso", "-indev", image, "-report_el_torito", "plain"], quiet=True)
    images = re.findall(r"^El Torito boot img :\s+(\d+)\s+(\S+).*?(\d+)$", said, re.MULTILINE)
    paths = dict(re.findall(r"^El Torito img path :\s+(\d+)\s+(.+)$", said, re.MULTILINE))
    return tuple(
        BootEntry(platform=kind, path=paths.get(number, ""), start=int(block) * SECTOR)
        for number, kind, block in images
    )


def listing(image: Path) -> list[str]:
    """Return the paths of an image, each with a leading slash."""
    said = command.run(["xorriso", "-indev", image, "-find", "/"], quiet=True)
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
    find: list[str | Path] = [
        "xorriso",
        "-indev",
        image,
        "-find",
        "/",
        "-type",
        "f",
        "-exec",
        "report_lba",
        "--",
    ]
    said = command.run(
        [
            *find,
            "-print",
            "LINKS",
            "-find",
            "/",
            "-type",
            "l",
            "--",
            "-print",
            "DIRECTORIES",
            "-find",
            "/",
            "-type",
            "d",
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
    return "-".join((digits[:4], *(digits[place : place + 2] for place in range(4, 16, 2))))


def offset_of(image: Path, path: str) -> int:
    """Return where a file's content begins in an image, in bytes. Raises BuildError when there is no such
    file.
    """
    said = command.run(["xorriso", "-indev", image, "-find", path, "-exec", "report_lba"], quiet=True)
    match = re.search(r"^File data lba:\s+\d+\s*,\s*(\d+)", said, re.MULTILINE)
    if match is None:
        raise BuildError(f"{image.name} has no {path}")
    return int(match.group(1)) * SECTOR


def read(image: Path, path: str, work: Path) -> bytes:
    """Return one file of an image; `work` is a directory to extract it into. Raises BuildError."""
    target = work / "extracted"
    target.unlink(missing_ok=True)
    command.run(["xorriso", "-osirrox", "on", "-indev", image, "-extract_single", path, target], quiet=True)
    _refuse_link(image, path, target, work)
    if not target.is_file():
        raise BuildError(f"{image.name} has no {path}")
    data = target.read_bytes()
    target.unlink()
    return data


def write(
    image: Path,
    files: Mapping[str, Path],
    *,
    volume: str,
    bios: str,
    esp: Path,
    mbr: Path,
    epoch: int,
    serial: str,
) -> None:
    """Write a hybrid image: El Torito for BIOS (`bios`, a path in it) and UEFI, and both as a disk
    (xorrisofs(1), Debian's and lorax's way).

    `files` maps paths in the image to files; `serial` (a UUID) is the disk's. The same inputs give the same
    bytes: times are `epoch`. Rock Ridge only: Joliet truncates `.commit` and `.commitmeta` to one name.
    """
    if len(volume) > VOLUME_ID_LENGTH:
        raise BuildError(f"the volume id {volume} is longer than {VOLUME_ID_LENGTH} characters")
    argv: list[str | Path] = [
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-o",
        image,
        "-R",
        "-V",
        volume,
        "-sysid",
        "LINUX",
        "-appid",
        "",
        "-preparer",
        "IMAGEBUILD",
        f"--modification-date={stamp(epoch)}",
        "--set_all_file_dates",
        stamp(epoch),
        "-uid",
        "0",
        "-gid",
        "0",
        "--gpt_disk_guid",
        serial,
        "--grub2-mbr",
        mbr,
        "-partition_offset",
        "16",
        "-appended_part_as_gpt",
        "-append_partition",
        "2",
        ESP_TYPE,
        esp,
        "-iso_mbr_part_type",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
        "-c",
        "boot.cat",
        "--boot-catalog-hide",
        "-b",
        bios,
        "-no-emul-boot",
        "-boot-load-size",
        "4",
        "-boot-info-table",
        "--grub2-boot-info",
        "-eltorito-alt-boot",
        "-e",
        "--interval:appended_partition_2:all::",
        "-no-emul-boot",
        "-graft-points",
        *[f"{_grafted(path)}={_grafted(str(file))}" for path, file in sorted(files.items())],
    ]
    command.run(argv, env={"SOURCE_DATE_EPOCH": str(epoch), "TZ": "UTC"})


def _grafted(text: str) -> str:
    """Graft points take `=` and backslashes literally only when they are escaped (xorrisofs(1))."""
    return text.replace("\\", "\\\\").replace("=", "\\=")


def stamp(epoch: int) -> str:
    """Return a time as xorriso reads it: YYYYMMDDhhmmsscc, in UTC."""
    return time.strftime("%Y%m%d%H%M%S00", time.gmtime(epoch))


def remaster(
    source: Path,
    target: Path,
    *,
    changed: Mapping[str, Path],
    added: Mapping[str, Path],
    esp: Path | None,
    partition: int = 2,
) -> None:
    """Write a copy of an image with some files changed or added, and its boot equipment as it was; `esp`
    replaces the appended `partition`.

    Nothing is unpacked (xorriso(1), "-boot_image any replay"). The UUID stays, too: a menu may look for it.
    """
    argv: list[str | Path] = ["xorriso", "-indev", source, "-outdev", target, "-boot_image", "any", "replay"]
    if (digits := identifier(source).replace("-", "")).isdigit() and int(digits):
        argv += ["-volume_date", "uuid", digits]
    if esp is not None:
        argv += ["-append_partition", str(partition), ESP_TYPE, esp]
    for path, file in changed.items():
        argv += ["-update", file, path]
    for path, file in added.items():
        argv += ["-map", file, path]
    command.run(argv)


def extract(image: Path, paths: Sequence[str], directory: Path) -> dict[str, Path]:
    """Extract files into a directory, below their own paths; return path -> file for those that there are."""
    there = set(listing(image))
    wanted = [path for path in paths if path in there]
    found = {}
    argv: list[str | Path] = ["xorriso", "-osirrox", "on", "-indev", image]
    for path in wanted:
        file = directory / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        argv += ["-extract", path, file]
        found[path] = file
    if wanted:
        command.run(argv, quiet=True)
    for path, file in found.items():
        _refuse_link(image, path, file, directory)
        file.chmod(0o644)
    return found


def _refuse_link(image: Path, path: str, file: Path, directory: Path) -> None:
    """Refuse what leads out of the directory it was extracted into: an image of others may hold links to
    anywhere.
    """
    if file.is_symlink() or not file.resolve().is_relative_to(directory.resolve()):
        file.unlink(missing_ok=True)
        raise BuildError(f"{path} of {image.name} is a symbolic link", hint="where did you get that image?")
