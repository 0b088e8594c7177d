"""ISO 9660 images through xorriso and isomd5sum: written, changed, given the checksum of media.

Sources: xorriso(1), xorrisofs(1), implantisomd5(1).
"""

import time
from collections.abc import Mapping
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, iso

VOLUME_ID_LENGTH = 32
# GPT types: of an ESP (UEFI 2.10, table 5-7), as lorax appends it, and of a file system of no special kind
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BASIC_DATA_TYPE = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


def write(
    image: Path,
    files: Mapping[str, Path],
    *,
    volume: str,
    bios: tuple[str, Path] | None,
    esp: Path,
    epoch: int,
    serial: str,
) -> None:
    """Write a hybrid image: El Torito for BIOS and UEFI, and both as a disk (xorrisofs(1), Debian's and
    lorax's way). `bios`: a path in it, and the MBR before it; None: it is for UEFI only.

    `files` maps paths in the image to files; `serial` (a UUID) is the disk's. The same inputs give the same
    bytes: times are `epoch`. Rock Ridge only: Joliet truncates `.commit` and `.commitmeta` to one name.
    """
    if len(volume) > VOLUME_ID_LENGTH:
        raise BuildError(f"the volume id {volume} is longer than {VOLUME_ID_LENGTH} characters")
    mbr, eltorito = list[str](), list[str]()
    if bios is not None:
        mbr = ["--grub2-mbr", str(bios[1])]
        eltorito = [
            *["-b", bios[0], "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"],
            *["--grub2-boot-info", "-eltorito-alt-boot"],
        ]
    argv: list[str | Path] = [
        *["xorriso", "-as", "mkisofs", "-quiet", "-o", iso.address(image)],
        *["-R", "-V", volume, "-sysid", "LINUX", "-appid", "", "-preparer", "IMAGEBUILD"],
        *[f"--modification-date={stamp(epoch)}", "--set_all_file_dates", stamp(epoch)],
        *["-uid", "0", "-gid", "0", "--gpt_disk_guid", serial, *mbr],
        *["-partition_offset", "16", "-appended_part_as_gpt"],
        *["-append_partition", "2", ESP_TYPE, str(esp), "-iso_mbr_part_type", BASIC_DATA_TYPE],
        *["-c", "boot.cat", "--boot-catalog-hide"],
        *eltorito,
        *["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"],
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
    argv: list[str | Path] = [
        *["xorriso", "-indev", iso.address(source), "-outdev", iso.address(target)],
        *["-boot_image", "any", "replay"],
    ]
    if (digits := iso.identifier(source).replace("-", "")).isdigit() and int(digits):
        argv += ["-volume_date", "uuid", digits]
    if esp is not None:
        argv += ["-append_partition", str(partition), ESP_TYPE, esp]
    for path, file in changed.items():
        argv += ["-update", file, path]
    for path, file in added.items():
        argv += ["-map", file, path]
    command.run(argv)


def implant_md5(image: Path) -> str:
    """Write the media checksum into an image and return it. Raises BuildError, MissingToolError."""
    command.run(["implantisomd5", "--force", image])
    return iso.implanted_md5(image)
