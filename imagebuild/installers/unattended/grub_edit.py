"""An unattended entry for a GRUB menu, written where the menu really is, and made its default: on the text,
by what GRUB would do with it.
"""

import re
from collections.abc import Mapping, Sequence

from imagebuild.errors import BuildError
from imagebuild.installers.unattended import entry as unattended
from imagebuild.kinds import Firmware
from imagebuild.tools.menus import grub_choice, grub_commands, grub_menu, grub_script
from imagebuild.tools.menus.grub_menu import Definition, GrubReading
from imagebuild.tools.menus.grub_script import GrubCommand
from imagebuild.tools.menus.menu import BootVolume, MenuEntry, Spot

Texts = dict[tuple[str, str], str]
ASSIGNMENT = re.compile(r"(default|timeout)=")


def add_entry(
    volumes: Sequence[BootVolume], start: Spot, firmware: Firmware, wanted: str, *, default: bool
) -> Texts:
    """Return the texts that change, by (volume, path), so that the menu has an entry with the argument
    `wanted`; `default` boots it by itself.

    Raises BuildError, with the menu's file and line, when GRUB would not have or boot it.
    """
    before = _read(volumes, {}, start, firmware)
    texts: Texts = {}
    if _way(before, wanted) is None:
        texts = _with_entry(volumes, before, start, firmware, wanted)
    now = _read(volumes, texts, start, firmware)
    if not default:
        way = _same(before, now, wanted)
        return texts if now.menu.default == way else _at_the_end(volumes, now, texts, way, timeout=None)
    way = _way(now, wanted) or ()
    texts = _rewritten(volumes, now, texts, _value(now.menu.entries, way))
    now = _read(volumes, texts, start, firmware)
    return texts if _boots(now, wanted) else _at_the_end(volumes, now, texts, way, timeout=unattended.SECONDS)


def _read(
    volumes: Sequence[BootVolume], texts: Mapping[tuple[str, str], str], start: Spot, firmware: Firmware
) -> GrubReading:
    return grub_menu.read_all([volume.changed(texts) for volume in volumes], start.file, firmware)


def _way(reading: GrubReading, wanted: str) -> tuple[int, ...] | None:
    return next((way for way, entry in reading.menu.walk() if unattended.has(entry, wanted)), None)


def _boots(reading: GrubReading, wanted: str) -> bool:
    booted = reading.menu.booted
    return (
        booted is not None and unattended.has(booted, wanted) and reading.menu.timeout == unattended.SECONDS
    )


def _text(volumes: Sequence[BootVolume], texts: Mapping[tuple[str, str], str], spot: Spot) -> str:
    volume = next(volume for volume in volumes if volume.name == spot.volume)
    return volume.changed(texts).read(spot.file) or ""


def _same(before: GrubReading, now: GrubReading, wanted: str) -> tuple[int, ...]:
    """Return where the entry that was the default is now: a new one before it has moved it."""
    old = [way for way, entry in before.menu.walk() if not unattended.has(entry, wanted)]
    new = [way for way, entry in now.menu.walk() if not unattended.has(entry, wanted)]
    return new[old.index(before.menu.default)] if before.menu.default in old else now.menu.default


def _at_the_end(
    volumes: Sequence[BootVolume],
    reading: GrubReading,
    texts: Texts,
    way: tuple[int, ...],
    *,
    timeout: int | None,
) -> Texts:
    """Say the default at the end of the menu's file: what is said last, counts, whatever conditions and other
    files say before.
    """
    spot = reading.menu.spot
    lines = f"set default={_quoted(_value(reading.menu.entries, way))}\n" + (
        f"set timeout={timeout}\n" if timeout is not None else ""
    )
    texts = _in_submenus(volumes, reading, texts, way)
    text = _text(volumes, texts, spot)
    return texts | {(spot.volume, spot.file): text + ("" if text.endswith("\n") else "\n") + lines}


def _in_submenus(
    volumes: Sequence[BootVolume], reading: GrubReading, texts: Texts, way: tuple[int, ...]
) -> Texts:
    """Say the default at the end of each submenu on the way, too: one that says its own does not ask the menu
    above.
    """
    new = dict(texts)
    # what is around another ends behind it
    for level in range(1, len(way)):
        entry, definition = reading.menu.at(way[:level]), reading.definitions[way[:level]]
        block, text = definition.statement.block, _text(volumes, new, definition.spot)
        if entry is not None and block is not None and text[block.end : block.end + 1] == "}":
            line = f"\nset default={_quoted(_value(entry.entries, way[level:]))}\n"
            new[definition.spot.volume, definition.spot.file] = text[: block.end] + line + text[block.end :]
    return new


# --- the entry ----------------------------------------------------------------------------------------------


def _with_entry(
    volumes: Sequence[BootVolume], reading: GrubReading, start: Spot, firmware: Firmware, wanted: str
) -> Texts:
    """Add a copy of an installing entry; where its kernel's words come from variables or functions, the words
    that they became.
    """
    candidates = unattended.best(list(reading.menu.walk()))
    if not candidates:
        raise BuildError(
            f"the menu {reading.menu.spot} has no entry that boots an installer",
            hint=unattended.hint(reading.menu, "it needs a menuentry with a kernel and an initrd"),
        )
    ways = [way for way, _ in candidates]
    for way, entry in candidates:
        for plain in (False, True):
            texts = _inserted(volumes, reading, entry, unattended.row(way, ways), wanted, plain=plain)
            if texts and _way(_read(volumes, texts, start, firmware), wanted) is not None:
                return texts
    raise BuildError(
        f"{candidates[0][1].spot}: no entry can be put beside this one", hint="; ".join(reading.menu.unsure)
    )


def _inserted(
    volumes: Sequence[BootVolume],
    reading: GrubReading,
    entry: MenuEntry,
    row: Sequence[tuple[int, ...]],
    wanted: str,
    *,
    plain: bool,
) -> Texts:
    first = reading.definitions[row[0]]
    last = first
    for way in row[1:]:
        if (
            reading.definitions[way].siblings is not first.siblings
            or reading.definitions[way].spot.file != first.spot.file
        ):
            break
        last = reading.definitions[way]
    text = _text(volumes, {}, first.spot)
    block = first.statement.block
    # what was defined by `eval` or a --source= is not written in the file
    if (
        block is None
        or grub_commands.DEFINING.match(text[first.statement.start :]) is None
        or text[block.end : block.end + 1] != "}"
    ):
        return {}
    body = _flat(text, first, wanted) if plain else _copy(text, first, wanted)
    key = (
        ""
        if any(other.key == unattended.KEY for _, other in reading.menu.walk())
        else f" --hotkey={unattended.KEY}"
    )
    # options of GRUB's own (classes, ids) are the first entry's; a theme shows this one without
    new = f"\n\nmenuentry '{unattended.title(entry.title)}' --class os --unrestricted{key} {{{body}}}"
    end = last.statement.end
    return {(first.spot.volume, first.spot.file): text[:end] + new + text[end:]}


def _copy(text: str, definition: Definition, wanted: str) -> str:
    """Return the entry's body, its kernels' words changed in their places."""
    block = definition.statement.block
    assert block is not None
    body = text[block.start : block.end]
    for command in reversed(
        [
            command
            for command in grub_script.inside(block.statements)
            if command.words[0].text in grub_commands.KERNELS
        ]
    ):
        body = (
            body[: command.start - block.start]
            + _kernel(text, command, wanted)
            + body[command.end - block.start :]
        )
    return body


def _kernel(text: str, command: GrubCommand, wanted: str) -> str:
    """Return a kernel's command with the kickstart, before a `quiet` at the end, and without what contradicts
    it.
    """
    pieces = [text[command.start : command.words[min(1, len(command.words) - 1)].end]]
    for before, word in zip(command.words[1:], command.words[2:], strict=False):
        if not unattended.DROPPED.fullmatch(word.text):
            pieces.append(text[before.end : word.end])
    if len(pieces) > 1 and pieces[-1].split() == ["quiet"]:
        pieces.insert(-1, f" {wanted}")
    else:
        pieces.append(f" {wanted}")
    return "".join(pieces)


def _flat(text: str, definition: Definition, wanted: str) -> str:
    """Return the entry's body, and after it the kernel once more, in the words that it had: the last one that
    is loaded is booted.
    """
    block = definition.statement.block
    assert block is not None
    loaded = definition.kernels[-1]
    words = [loaded.name, loaded.words[0], *unattended.arguments(loaded.words[1:], wanted)]
    initrd = loaded.name.replace("linux", "initrd").replace("initrd32", "initrd")
    lines = "".join(
        f"\t{' '.join(_quoted(word) for word in line)}\n" for line in (words, [initrd, *definition.initrds])
    )
    return f"{text[block.start : block.end].rstrip()}\n{lines}"


def _quoted(word: str) -> str:
    """Return a word as GRUB reads it back. Labels with \\x20 stay as they are: in quotes upstream's GRUB
    doubles the backslash.
    """
    if re.fullmatch(r"[\w./=:,+@%()\\-]+", word) and not word.isdigit():
        return word
    return '"' + re.sub(r'([$"\\])', r"\\\1", word) + '"'


# --- the default --------------------------------------------------------------------------------------------


def _value(entries: Sequence[MenuEntry], way: tuple[int, ...]) -> str:
    """Return what `default` must be: a number, and the titles of what is in submenus (rhboot's GRUB takes no
    numbers there).
    """
    if len(way) == 1:
        return str(way[0])
    names = []
    for index in way:
        names.append(grub_choice.name(entries[index].title))
        entries = entries[index].entries
    return ">".join(names)


def _rewritten(volumes: Sequence[BootVolume], reading: GrubReading, texts: Texts, value: str) -> Texts:
    """Change what the menu's files assign to `default` and `timeout` in any case; what none says is put
    before the first line of the first.

    In conditions, loops and functions nothing is changed: they may ask for it.
    """
    new, missing = dict(texts), {"default", "timeout"}
    for spot in reading.menu.files:
        text = _text(volumes, texts, spot)
        commands = [
            command for command in grub_script.parse(text).statements if isinstance(command, GrubCommand)
        ]
        assignments = [written for command in commands if (written := _assignment(text, command)) is not None]
        for start, end, name in reversed(assignments):
            assigned = _quoted(value) if name == "default" else unattended.SECONDS
            text = f"{text[:start]}{name}={assigned}{text[end:]}"
        missing -= {name for _, _, name in assignments}
        new |= {(spot.volume, spot.file): text} if assignments else {}
    lines = [f"set default={_quoted(value)}\n"] * ("default" in missing) + [
        f"set timeout={unattended.SECONDS}\n"
    ] * ("timeout" in missing)
    spot = reading.menu.spot
    return new | ({(spot.volume, spot.file): "".join(lines) + _text(volumes, new, spot)} if lines else {})


def _assignment(text: str, command: GrubCommand) -> tuple[int, int, str] | None:
    """Return where a command assigns to `default` or `timeout`: start and end of the word, and which of them;
    None when it does not.
    """
    words = command.words[1:] if command.words[0].text == "set" else command.words
    match = ASSIGNMENT.match(text[words[0].start : words[0].end]) if len(words) == 1 else None
    return (words[0].start, words[0].end, match.group(1)) if match is not None else None
