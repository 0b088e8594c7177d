"""The boot menus of an installer ISO, found and read as each firmware does.

Under BIOS the boot image of the El Torito catalogue says which loader it is; under UEFI firmware reads the
ESP that the catalogue names (UEFI 2.10, 13.3.2.1): a file of the ISO, or a partition appended to it. What
lies beside these is read by nobody.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools import command, iso
from imagebuild.tools.menus import grub_menu, isolinux_menu
from imagebuild.tools.menus.menu import ESP, ISO, BootVolume, Menu, MenuLoader, Spot

# where GRUB looks for its menu: Fedora's and Debian's prefix under BIOS; the directory of the program and the
# vendor's under UEFI
BIOS_MENUS = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/EFI/BOOT/grub.cfg")
ESP_MENUS = ("/EFI/BOOT/grub.cfg", "/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
LARGEST_MENU = 1 << 20
# what firmware loads of a boot image without emulation: four sectors of 512 bytes
SECTORS_OF_BIOS = 4 * 512
# of an ESP that is copied out of an image
LARGEST_ESP = 1 << 30
MDIR_SECONDS = 60.0
MTOOLS = {"MTOOLS_SKIP_CHECK": "1"}
UNKNOWN_HINT = "looked for isolinux' and GRUB's menus where their boot images look"


@dataclass(frozen=True, kw_only=True)
class Esp:
    """A copy of the ESP, and where it was: a file's `path`, or the `partition` that was appended."""

    file: Path
    path: str = ""
    partition: int = 0


@dataclass(frozen=True, kw_only=True)
class Medium:
    """An ISO's volumes and the way in under each firmware that it boots under: which loader, and its first
    file.
    """

    iso: BootVolume
    esp: BootVolume | None
    esp_place: Esp | None
    starts: Mapping[Firmware, tuple[MenuLoader, Spot]]

    def volumes(self, first: str) -> tuple[BootVolume, ...]:
        """Return what a loader can read, where it lies itself first."""
        volumes = [volume for volume in (self.iso, self.esp) if volume is not None]
        return tuple(sorted(volumes, key=lambda volume: volume.name != first))


def menus(image: Path, work: Path) -> dict[Firmware, Menu]:
    """Return the menu under each firmware that the ISO boots under; `work` is a directory for what must be
    extracted. Raises BuildError.
    """
    medium = opened(image, work)
    return {firmware: menu_of(medium, firmware) for firmware in medium.starts}


def menu_of(medium: Medium, firmware: Firmware, texts: Mapping[tuple[str, str], str] | None = None) -> Menu:
    """Return the menu under a firmware that the medium boots under; `texts` of files stand for what is on it.
    Raises BuildError.
    """
    # what Secure Boot starts reads the same menu
    loader, spot = medium.starts[Firmware.UEFI if firmware.is_uefi else firmware]
    if loader is MenuLoader.GRUB:
        return grub_menu.read(
            [volume.changed(texts or {}) for volume in medium.volumes(spot.volume)], spot.file, firmware
        )
    menu = isolinux_menu.read(medium.iso.changed(texts or {}), spot.file)
    if menu is None:
        raise BuildError(f"isolinux' configuration {spot.file} is not there")
    return menu


def opened(image: Path, work: Path) -> Medium:
    """Open an ISO; `work` is a directory for what must be extracted. Raises BuildError, as for a firmware
    under which it boots into no menu.
    """
    content = iso.content(image)
    files = content.files
    volume = _volume(
        ISO,
        iso.volume_id(image),
        iso.identifier(image),
        _reader(image, content),
        [*files, *content.links, *content.directories],
    )
    entries = iso.boot_entries(image)
    located = _esp(image, entries, files, work)
    esp, paths = _esp_volume(located.file, work) if located is not None else (None, [])
    starts = dict[Firmware, tuple[MenuLoader, Spot]]()
    bios = next((entry for entry in entries if entry.platform == "BIOS"), None)
    if bios is not None:
        starts[Firmware.BIOS] = _bios_start(image, volume, bios, files)
    if esp is not None:
        starts[Firmware.UEFI] = _uefi_start(esp, paths)
    elif any(entry.platform == "UEFI" for entry in entries):
        raise BuildError(
            f"{image.name} boots under UEFI, but its ESP cannot be found", hint="is it a whole download?"
        )
    return Medium(iso=volume, esp=esp, esp_place=located, starts=starts)


# --- volumes ------------------------------------------------------------------------------------------------


def _volume(
    name: str, label: str, uuid: str, read: Callable[[str], str | None], paths: list[str]
) -> BootVolume:
    """Make a volume whose names are found as boot loaders find them: as they are, otherwise whatever their
    case.
    """
    there = {path: path for path in paths} | {
        path.lower(): path for path in reversed(paths) if path.lower() not in paths
    }

    def actual(path: str) -> str | None:
        return path if path in there else there.get(path.lower())

    def text(path: str) -> str | None:
        spelled = actual(path)
        return read(spelled) if spelled is not None else None

    return BootVolume(
        name=name,
        label=label,
        uuid=uuid,
        read=text,
        has=lambda path: actual(path.rstrip("/") or "/") is not None,
        actual=lambda path: actual(path) or path,
    )


def _reader(image: Path, content: iso.Content) -> Callable[[str], str | None]:
    def read(path: str) -> str | None:
        if path in content.links:
            raise BuildError(
                f"{path} of {image.name} is a symbolic link", hint="where did you get that image?"
            )
        extent = content.files.get(path)
        if extent is None:
            return None
        if extent.size > LARGEST_MENU:
            raise BuildError(f"{path} of {image.name} has {extent.size} bytes: too many for a boot menu")
        with image.open("rb") as stream:
            stream.seek(extent.start)
            return stream.read(extent.size).decode("utf-8", "surrogateescape")

    return read


def _esp_volume(file: Path, work: Path) -> tuple[BootVolume, list[str]]:
    # in a hostile one a directory may be in itself
    # mtools reads more than a path into what -i is given (`@@` begins an offset)
    said = command.run(
        ["mdir", "-/", "-b", "-a", "-i", file.name, "::"],
        env=MTOOLS, cwd=file.parent, quiet=True, timeout=MDIR_SECONDS, accept=range(256),
    )  # fmt: skip
    paths = [line.removeprefix("::").rstrip("/") for line in said.splitlines() if line.startswith("::/")]
    with file.open("rb") as stream:
        head = stream.read(512)
    # the FAT's serial number and label (Microsoft's FAT specification 1.03, BS_VolID and BS_VolLab)
    offset = 67 if head[82:87] == b"FAT32" else 39
    serial, label = (
        int.from_bytes(head[offset : offset + 4], "little"),
        head[offset + 4 : offset + 15].decode("ascii", "replace").strip(),
    )

    def read(path: str) -> str | None:
        target = work / "esp-file"
        target.unlink(missing_ok=True)
        status, _ = command.status(
            ["mcopy", "-n", "-i", file.name, f"::{path}", target.absolute()], env=MTOOLS, cwd=file.parent
        )
        if status != 0 or not target.is_file():
            return None
        if target.stat().st_size > LARGEST_MENU:
            raise BuildError(f"{path} of the ESP has {target.stat().st_size} bytes: too many for a boot menu")
        return target.read_bytes().decode("utf-8", "surrogateescape")

    return _volume(ESP, label, f"{serial >> 16:04X}-{serial & 0xFFFF:04X}", read, paths), paths


# --- where each firmware begins -----------------------------------------------------------------------------


def _bios_start(
    image: Path, volume: BootVolume, entry: iso.BootEntry, files: Mapping[str, iso.Extent]
) -> tuple[MenuLoader, Spot]:
    # of a boot image that is not a file of the ISO (El Torito) only the start is known
    extent = files.get(entry.path, iso.Extent(start=entry.start, size=SECTORS_OF_BIOS))
    with image.open("rb") as stream:
        stream.seek(extent.start)
        head = stream.read(min(extent.size, LARGEST_MENU))
    isolinux = isolinux_menu.configuration(volume)
    grub = next((path for path in BIOS_MENUS if volume.has(path)), None)
    is_isolinux = b"isolinux" in head.lower() or (
        b"GRUB" not in head and ("linux" in entry.path.lower() or grub is None)
    )
    file = isolinux if is_isolinux else grub
    if file is None:
        raise BuildError(
            f"{image.name} has no boot menu that is known here for BIOS ({entry.path or 'its boot image'})",
            hint=(
                f"{UNKNOWN_HINT}:"
                f" {', '.join(BIOS_MENUS) if not is_isolinux else ', '.join(isolinux_menu.DIRECTORIES)}"
            ),
        )
    return (MenuLoader.ISOLINUX if is_isolinux else MenuLoader.GRUB), Spot(volume=ISO, file=file, line=1)


def _uefi_start(esp: BootVolume, paths: Sequence[str]) -> tuple[MenuLoader, Spot]:
    vendors = sorted(path for path in paths if re.fullmatch(r"/EFI/[^/]+/grub\.cfg", path, re.IGNORECASE))
    file = next((path for path in (ESP_MENUS[0], *vendors, *ESP_MENUS[1:]) if esp.has(path)), None)
    if file is None:
        raise BuildError(
            "the ESP has no boot menu that is known here: what UEFI boots cannot be told",
            hint=f"looked for EFI/*/grub.cfg, {', '.join(ESP_MENUS)} in the ESP",
        )
    return MenuLoader.GRUB, Spot(volume=ESP, file=file, line=1)


def _esp(
    image: Path, entries: tuple[iso.BootEntry, ...], files: Mapping[str, iso.Extent], work: Path
) -> Esp | None:
    """Return a copy of the ESP that firmware reads; None when there is none."""
    uefi = next((entry for entry in entries if entry.platform == "UEFI"), None)
    if uefi is not None and uefi.path in files:
        target = _copied(image, files[uefi.path].start, files[uefi.path].size, work / "esp-of-a-file.img")
        return Esp(file=target, path=uefi.path)
    partition = _partition(
        image, uefi.start if uefi is not None else 0, {extent.start for extent in files.values()}
    )
    if partition is None:
        return None
    number, start, size = partition
    target = _copied(image, start, size, work / "esp.img")
    with target.open("rb") as stream:
        return Esp(file=target, partition=number) if stream.read(512)[510:] == b"\x55\xaa" else None


def appended_esp(image: Path, work: Path) -> Path | None:
    """Return a copy of the ESP that is appended to the ISO as a partition; None when there is none."""
    found = _esp(image, iso.boot_entries(image), iso.content(image).files, work)
    return found.file if found is not None and found.partition else None


def _partition(image: Path, start: int, files: set[int]) -> tuple[int, int, int] | None:
    """Return (number, first byte, bytes) of the partition that begins where El Torito says, or of the second
    one that is not a file's.
    """
    said = command.run(["xorriso", "-indev", iso.address(image), "-report_system_area", "plain"], quiet=True)
    gpt = re.findall(r"^GPT start and size\s*:\s+(\d+)\s+(\d+)\s+(\d+)", said, re.MULTILINE)
    mbr = re.findall(r"^MBR partition\s*:\s+(\d+)\s+\S+\s+0xef\s+(\d+)\s+(\d+)", said, re.MULTILINE)
    partitions = [
        (int(number), int(first) * 512, int(count) * 512)
        for number, first, count in (*gpt, *mbr)
        if int(count)
    ]
    outside = [partition for partition in partitions if partition[1] not in files]
    wanted = [partition for partition in outside if start and partition[1] == start]
    return next(iter(wanted or [partition for partition in outside if partition[0] == 2]), None)


def _copied(image: Path, start: int, size: int, target: Path) -> Path:
    if size > LARGEST_ESP:
        raise BuildError(f"{image.name} has an ESP of {size} bytes", hint="where did you get that image?")
    with image.open("rb") as stream, target.open("wb") as copy:
        stream.seek(start)
        left = size
        while left and (data := stream.read(min(left, 1 << 20))):
            copy.write(data)
            left -= len(data)
    return target
