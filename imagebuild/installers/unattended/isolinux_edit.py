"""An unattended label for an isolinux menu, written where the menu really is, and made its default: on the
text, by what isolinux would do.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from imagebuild.errors import BuildError
from imagebuild.installers.unattended import entry as unattended
from imagebuild.tools.menus import isolinux_menu
from imagebuild.tools.menus.isolinux_menu import IsolinuxReading
from imagebuild.tools.menus.isolinux_parts import KINDS, split_line
from imagebuild.tools.menus.menu import BootVolume, MenuEntry, Spot

Texts = dict[tuple[str, str], str]
LABEL = "unattended"
MENU_LABEL = "Install ^unattended (erases the disk)"
# what ends a label's lines, besides the next label
ENDS = ("label", "include")
MENU_ENDS = ("begin", "end", "separator", "include")


def add_label(volume: BootVolume, start: str, wanted: str, *, default: bool) -> Texts:
    """Return the texts that change, by (volume, path), so that the menu has a label with the argument
    `wanted`; `default` boots it by itself.

    Raises BuildError, with the file and line, when isolinux would not have it.
    """
    before = _read(volume, {}, start)
    texts: Texts = {}
    label = _label(before, wanted)
    if label is None:
        label = next(
            name for name in _names() if name not in {entry.label for _, entry in before.menu.walk()}
        )
        texts = _with_label(volume, before, label, wanted, default=default)
    elif default:
        texts = _marked(volume, before, label)
    return _by_itself(volume, start, texts, label) if default else texts


def _names() -> Iterator[str]:
    yield LABEL
    number = 2
    while True:
        yield f"{LABEL}{number}"
        number += 1


def _read(volume: BootVolume, texts: Mapping[tuple[str, str], str], start: str) -> IsolinuxReading:
    menu = isolinux_menu.read_all(volume.changed(texts), start)
    if menu is None:
        raise BuildError(f"isolinux' configuration {start} is not there")
    return menu


def _label(reading: IsolinuxReading, wanted: str) -> str | None:
    """Return the label in the first menu that has the kickstart already."""
    return next((entry.label for entry in reading.menu.entries if unattended.has(entry, wanted)), None)


# --- the label ----------------------------------------------------------------------------------------------


def _with_label(
    volume: BootVolume, reading: IsolinuxReading, label: str, wanted: str, *, default: bool
) -> Texts:
    """Add a copy of an installing label: after those that it stands among, so that it is never the first, or
    at the end of the file.
    """
    candidates = unattended.best(list(reading.menu.walk()))
    if not candidates:
        raise BuildError(
            f"the menu {reading.menu.spot} has no label that boots an installer",
            hint=unattended.hint(reading.menu, "it needs a label with a kernel and an initrd"),
        )
    way, entry = candidates[0]
    last = _last(reading, unattended.row(way, [other for other, _ in candidates]))
    new = _copy(reading, entry, label, wanted, default=default)
    file = last.file if len(way) == 1 else reading.menu.spot.file
    lines = (volume.read(file) or "").split("\n")
    at = _end_of_label(lines, last.line) if len(way) == 1 else len(lines)
    return {
        (volume.name, file): (
            "\n".join([*lines[:at], "", *new, *([] if at == len(lines) else lines[at:])])
            + ("\n" if at == len(lines) else "")
        )
    }


def _last(reading: IsolinuxReading, row: Sequence[tuple[int, ...]]) -> Spot:
    spots = [entry.spot for way in row if (entry := reading.menu.at(way)) is not None]
    same = [spot for spot in spots if spot.file == spots[0].file]
    return max(same, key=lambda spot: spot.line) if len(same) == len(spots) else spots[0]


def _end_of_label(lines: Sequence[str], begun: int) -> int:
    """Return the index of the line after a label's last one; `begun` is the number (from 1) of its first."""
    last, help_text = begun, False
    for index in range(begun, len(lines)):
        word, rest = split_line(lines[index])
        if help_text or word == "text":
            help_text, last = word != "endtext", index + 1
            continue
        if word in ENDS or (word == "menu" and split_line(rest)[0] in MENU_ENDS):
            break
        if word and not word.startswith("#"):
            last = index + 1
    return last


def _copy(reading: IsolinuxReading, entry: MenuEntry, label: str, wanted: str, *, default: bool) -> list[str]:
    """Return the lines of a label like another, its words changed. Its `append` may be the global one."""
    said = {
        line.word: line.rest
        for line in reading.lines
        if line.label == entry.label and line.word in (*KINDS, "initrd", "append")
    }
    above = [
        line.rest
        for line in reading.lines
        if not line.label and line.word == "append" and _before(line.spot, entry.spot, reading)
    ]
    append = said.get("append", above[-1] if above else "")
    kind = next((word for word in reversed(said) if word in KINDS), "")
    program, *words = (said[kind] if kind else entry.label).split()
    kept = " ".join([program, *(word for word in words if not unattended.DROPPED.fullmatch(word))])
    return [
        f"label {label}",
        f"  menu label {MENU_LABEL}",
        f"  {kind or 'kernel'} {kept}",
        *([f"  initrd {said['initrd']}"] if "initrd" in said else []),
        f"  append {' '.join(unattended.arguments(append.split() if append.strip() != '-' else [], wanted))}",
        *(["  menu default"] if default else []),
    ]


def _before(spot: Spot, other: Spot, reading: IsolinuxReading) -> bool:
    order = [line.spot for line in reading.lines]
    return order.index(spot) < order.index(other)


def _marked(volume: BootVolume, reading: IsolinuxReading, label: str) -> Texts:
    """Make a label that is there the default of its menu."""
    spot = next(entry.spot for entry in reading.menu.entries if entry.label == label)
    lines = (volume.read(spot.file) or "").split("\n")
    return {(volume.name, spot.file): "\n".join([*lines[: spot.line], "  menu default", *lines[spot.line :]])}


# --- the default --------------------------------------------------------------------------------------------


def _by_itself(volume: BootVolume, start: str, texts: Texts, label: str) -> Texts:
    """Have the label booted after 10 seconds: `default` and `ontimeout` name it, no other is the menu's
    default, and there is a timeout.
    """
    reading = _read(volume, texts, start)
    has_ui = any(line.word == "ui" for line in reading.lines)
    new: Texts = dict(texts)
    edits: dict[str, dict[int, str | None]] = {}
    for line in reading.lines:
        replacement = _replacement(
            line.word,
            line.rest,
            line.label,
            label,
            named=has_ui or reading.menu.prompt,
            asks=reading.menu.prompt,
        )
        if replacement is not _KEEP:
            edits.setdefault(line.spot.file, {})[line.spot.line] = replacement
    for file, changes in edits.items():
        text = volume.changed(texts).read(file) or ""
        new[volume.name, file] = _edited(text, changes)
    words = {line.word for line in reading.lines}
    lines = [f"timeout {unattended.SECONDS * 10}"] * ("timeout" not in words)
    # without a menu it would be booted at once
    lines += ["prompt 1"] * (reading.menu.prompt and "prompt" not in words)
    lines += [f"default {label}"] * (reading.menu.prompt and "default" not in words)
    if lines:
        key = (volume.name, reading.menu.spot.file)
        new[key] = "\n".join([*lines, new.get(key, volume.read(key[1]) or "")])
    return new


_KEEP = "(as it is)"


def _replacement(word: str, rest: str, owner: str, label: str, *, named: bool, asks: bool) -> str | None:
    """Return what a line becomes; None when it goes."""
    if (word == "menu default" and owner != label) or word == "menu start":
        return None
    if word == "prompt" and asks and rest.strip() in ("", "0"):
        return "prompt 1"
    always = {"ontimeout": f"ontimeout {label}", "timeout": f"timeout {unattended.SECONDS * 10}"}
    return (always | ({"default": f"default {label}"} if named else {})).get(word, _KEEP)


def _edited(text: str, changes: Mapping[int, str | None]) -> str:
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in changes:
            lines.append(line)
        elif (change := changes[number]) is not None:
            indent = re.match(r"\s*", line)
            lines.append((indent.group() if indent is not None else "") + change)
    return "\n".join(lines)
