"""Turn an installer ISO into an unattended one: a kickstart is put on it and its boot menus get an entry,
without unpacking it.

Each menu is changed where its firmware reads it (`imagebuild.tools.menus.medium`): isolinux' or GRUB's under
BIOS, under UEFI the one in the ESP, which is a file of the ISO or a partition behind it, or the one that this
leads to. What was written is read back the same way, and the entry that would be booted is what is reported.
The media checksum is implanted again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.deploy import bootloader
from imagebuild.errors import BuildError, UsageError
from imagebuild.installers.unattended import entry as unattended
from imagebuild.installers.unattended import grub_edit, isolinux_edit
from imagebuild.installers.unattended.entry import PLACE
from imagebuild.kickstart import source as language
from imagebuild.kinds import Firmware
from imagebuild.tools import iso, iso_writer, temporary
from imagebuild.tools.menus import medium
from imagebuild.tools.menus.medium import Medium
from imagebuild.tools.menus.menu import ESP, ISO, Menu, MenuLoader, Spot

# no firmware reads these, but people do who copy the ISO's files to a stick, and Macs (lorax' efi.tmpl)
COPIES = (
    (ISO, "/boot/grub2/grub.cfg"),
    (ISO, "/boot/grub/grub.cfg"),
    (ISO, "/EFI/BOOT/grub.cfg"),
    (ISO, "/EFI/BOOT/BOOT.conf"),
    (ESP, "/EFI/BOOT/BOOT.conf"),
)
# in whose lines pykickstart looks for nothing
SCRIPTS = ("%pre", "%pre-install", "%post", "%onerror", "%traceback")
# where a running Anaconda has the medium (dracut/anaconda-lib.sh, repodir and isodir; /mnt/install is a link
# to it)
ITSELF = re.compile(rf"(file://)?/(run|mnt)/install/\w+{re.escape(PLACE)}")
Texts = Mapping[tuple[str, str], str]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a firmware does with the finished medium: the entry with the kickstart, and the seconds until it
    is booted (None: not by itself).
    """

    firmware: Firmware
    spot: Spot
    title: str
    seconds: float | None

    def __str__(self) -> str:
        when = f"after {self.seconds:.0f} seconds" if self.seconds is not None else "when its entry is chosen"
        return (
            f"under {self.firmware.upper()} it boots into the unattended installation {when} ({self.title!r},"
            f" {self.spot})"
        )


def add_kickstart(
    source: Path, kickstart: Path, target: Path, *, syntax: str, default: bool = True, keep: bool = False
) -> tuple[Seen, ...]:
    """Write a copy of an installer ISO with a kickstart on it and a boot entry for it, and return what was
    seen of each firmware's menu.

    The kickstart is parsed first, in pykickstart's version `syntax`. `default` makes the entry the one that
    is booted after 10 seconds; `keep` lets `source` be changed into the target instead of keeping both.
    Raises BadKickstartError with file and line, UsageError, BuildError.
    """
    text = _read(kickstart)
    language.parse(_without_includes(text, kickstart.name), syntax, kickstart.name, complete=False)
    if target.exists():
        raise UsageError(f"{target} exists", hint="give another name, or remove it")
    if not target.parent.is_dir():
        raise UsageError(f"there is no directory {target.parent}", hint="make it, or give another name")
    wanted = unattended.ask(iso.volume_id(source))
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        with temporary.within(target.parent, "remaster") as work:
            (work / "ks.cfg").write_text(text)
            there = medium.opened(source, work)
            # entries with a kickstart of an earlier time may be the default already
            before = frozenset(
                firmware for firmware in there.starts if _boots(medium.menu_of(there, firmware), wanted)
            )
            _write(source, there, partial, work, wanted, default=default)
            iso_writer.implant_md5(partial)
            seen = _look_back(partial, target.name, work, wanted, there.starts, None if default else before)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    if keep:
        source.unlink()
    return seen


def _read(kickstart: Path) -> str:
    try:
        return kickstart.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{kickstart} cannot be read: {error}") from error


def _without_includes(text: str, name: str) -> str:
    """Return a kickstart without the lines that include others, for a check; line numbers stay.

    Anaconda reads them when it runs: files of the medium, what a %pre wrote, URLs. Raises UsageError for one
    that would include itself.
    """
    lines, section = text.split("\n"), ""
    for index, line in enumerate(lines):
        word = (line.split() or [""])[0]
        if word in ("%include", "%ksappend") and section not in SCRIPTS:
            if any(ITSELF.fullmatch(path) for path in line.split()[1:2]):
                raise UsageError(
                    f"{name}:{index + 1} includes {PLACE} of the medium, whose place it takes there itself",
                    hint="put that file's lines into it",
                )
            steplog.note(f"line {index + 1} is left to Anaconda: {line.strip()}")
            lines[index] = ""
        elif word.startswith("%"):
            section = "" if word == "%end" else word
    return "\n".join(lines)


# --- writing ------------------------------------------------------------------------------------------------


def _write(source: Path, there: Medium, target: Path, work: Path, wanted: str, *, default: bool) -> None:
    """Write the copy with the kickstart and the changed menus."""
    if not there.starts:
        raise BuildError(
            f"{source.name} boots neither under BIOS nor under UEFI: which menu its firmware would read"
            " cannot be told",
            hint="only media with an El Torito catalogue (ECMA-119, x86 and ARM) can be changed",
        )
    texts = _changed(there, wanted, default=default)
    files = dict[str, Path]()
    for number, ((volume, path), text) in enumerate(sorted(texts.items())):
        file = work / f"menu-{number}"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        if volume == ISO:
            files[path] = file
        elif there.esp_place is not None:
            _into_esp(source.name, there.esp_place.file, file, path)
    esp_file = there.esp_place if any(volume == ESP for volume, _ in texts) else None
    if esp_file is not None and esp_file.path:
        files[esp_file.path] = esp_file.file
    appended = there.esp_place if there.esp_place is not None and there.esp_place.partition else None
    iso_writer.remaster(
        source,
        target,
        changed=files,
        added={PLACE: work / "ks.cfg"},
        esp=appended.file if appended is not None else None,
        partition=appended.partition if appended is not None else 2,
    )


def _into_esp(name: str, esp: Path, file: Path, path: str) -> None:
    try:
        bootloader.copy_into_fat(esp, file, f"::{path}")
    except BuildError as error:
        # the tool's own words are the last line; most ESPs are made as small as they can be
        raise BuildError(
            f"{path} in the ESP of {name} cannot be changed: {error.message.splitlines()[-1].strip()}",
            hint="an ESP without room must be made larger, or its menu lead to one on the ISO (configfile)",
        ) from error


def _changed(there: Medium, wanted: str, *, default: bool) -> Texts:
    """Return the texts of all menus that change, by (volume, path). Raises BuildError for a firmware whose
    menu cannot be changed.
    """
    texts: dict[tuple[str, str], str] = {}
    for firmware, (loader, spot) in there.starts.items():
        if loader is MenuLoader.ISOLINUX:
            texts |= isolinux_edit.add_label(there.iso.changed(texts), spot.file, wanted, default=default)
        else:
            volumes = [volume.changed(texts) for volume in there.volumes(spot.volume)]
            texts |= grub_edit.add_entry(volumes, spot, firmware, wanted, default=default)
    read = {
        (spot.volume, spot.file)
        for firmware in there.starts
        for spot in medium.menu_of(there, firmware, texts).files
    }
    for volume, path in COPIES:
        if (volume, path) not in read:
            texts |= _copy(there, Spot(volume=volume, file=path, line=1), texts, wanted, default=default)
    return texts


def _copy(there: Medium, spot: Spot, texts: Texts, wanted: str, *, default: bool) -> Texts:
    """Return the changes of a menu that no firmware of this medium reads; none when it cannot be changed."""
    volumes = [volume.changed(texts) for volume in there.volumes(spot.volume)]
    if not volumes or volumes[0].name != spot.volume or not volumes[0].has(spot.file):
        return {}
    try:
        return grub_edit.add_entry(volumes, spot, Firmware.UEFI, wanted, default=default)
    except BuildError as error:
        steplog.note(f"{spot.file} stays as it is, no firmware reads it here: {error.message}")
        return {}


# --- reading back -------------------------------------------------------------------------------------------


def _look_back(
    image: Path,
    name: str,
    work: Path,
    wanted: str,
    starts: Mapping[Firmware, tuple[MenuLoader, Spot]],
    unattended_before: frozenset[Firmware] | None,
) -> tuple[Seen, ...]:
    """Read the menus of the written medium as each firmware does. Raises BuildError, with file and line, for
    what is not as it should be.

    The entry must be the default; or not, where it was not among `unattended_before`.
    """
    seen = []
    after = medium.opened(image, work)
    if after.starts != starts:
        raise BuildError(
            f"{name} boots differently from before: {_ways_in(after.starts)} instead of {_ways_in(starts)}"
        )
    for firmware in after.starts:
        menu = medium.menu_of(after, firmware)
        where = f"{name} under {firmware.upper()}"
        by_itself = None if unattended_before is None else firmware in unattended_before
        seen.append(_look_at(menu, firmware, where, wanted, by_itself))
    return tuple(seen)


def _look_at(menu: Menu, firmware: Firmware, where: str, wanted: str, by_itself: bool | None) -> Seen:
    """Read one menu of the written medium. `by_itself`: whether it was booted unattended before (None: the
    entry must be the default).
    """
    entry = next((entry for _, entry in menu.walk() if unattended.has(entry, wanted)), None)
    if entry is None:
        raise BuildError(f"{where}: its menu {menu.spot} has no entry with the kickstart", hint=_doubts(menu))
    boots = _boots(menu, wanted)
    if by_itself is None and not boots:
        raise BuildError(f"{where}: {_instead(menu)}, not {entry.title!r} ({entry.spot})", hint=_doubts(menu))
    if by_itself is False and boots:
        raise BuildError(
            f"{where}: its menu {menu.spot} would boot {entry.title!r} ({entry.spot}) by itself, which"
            " erases the disk"
        )
    booted = menu.booted if boots and menu.booted is not None else entry
    return Seen(
        firmware=firmware,
        spot=booted.spot,
        title=booted.title,
        seconds=menu.timeout if boots else None,
    )


def _ways_in(starts: Mapping[Firmware, tuple[MenuLoader, Spot]]) -> str:
    return (
        ", ".join(
            f"{firmware.upper()} by {loader} with {spot.file}" for firmware, (loader, spot) in starts.items()
        )
        or "not at all"
    )


def _boots(menu: Menu, wanted: str) -> bool:
    return menu.booted is not None and unattended.has(menu.booted, wanted)


def _instead(menu: Menu) -> str:
    at = menu.at(menu.default)
    if at is None or menu.timeout is None:
        return f"its menu {menu.spot} waits for ever"
    return f"its menu {menu.spot} boots {at.title!r} ({at.spot})"


def _doubts(menu: Menu) -> str:
    return "; ".join(menu.unsure) or "change that menu by hand, or report how it is written"
