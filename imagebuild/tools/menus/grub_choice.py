"""How GRUB 2 reads the options of its commands, and which entry of a menu it boots by itself, and when.

lib/arg.c (`grub_arg_parse`), commands/menuentry.c (keys) and normal/menu.c (`get_entry_number`,
`grub_menu_get_timeout`) of GRUB 2.06.
"""

import re
from collections.abc import Mapping, Sequence

from imagebuild.tools.menus.menu import MenuEntry

SHORT = {
    "menuentry": {"c": "class", "u": "users", "h": "hotkey", "s": "source"},
    "search": {
        "f": "file",
        "l": "label",
        "u": "fs-uuid",
        "s": "set",
        "n": "no-floppy",
        "r": "root-dev-only",
        "h": "hint",
    },
}
FLAGS = {
    "menuentry": ("unrestricted",),
    "search": ("file", "label", "fs-uuid", "no-floppy", "efidisk-only", "cryptodisk-only", "root-dev-only"),
}
WITH_VALUE = {
    "menuentry": ("class", "users", "hotkey", "source", "id"),
    "search": ("set", "hint", "hint-ieee1275", "hint-bios", "hint-baremetal", "hint-efi", "hint-arc"),
}  # fmt: skip


def options(command: str, words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return a command's options (menuentry, search) with their values, and the words that are none."""
    options, names = dict[str, list[str]](), list[str]()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            names += rest
            break
        name, value = _option(command, word)
        if not name:
            names.append(word)
            continue
        # a value that follows is taken unless it looks like another option
        if (
            name in WITH_VALUE[command]
            and value is None
            and rest
            and not (rest[0].startswith("-") and len(rest[0]) > 1)
        ):
            value = rest.pop(0)
        options.setdefault(name, []).append(value or "")
        for flag in word[1:-1] if not word.startswith("--") else "":
            options.setdefault(SHORT[command][flag], []).append("")
    return options, names


def _option(command: str, word: str) -> tuple[str, str | None]:
    """Return the name of the (last) option that a word is, and its value if that is in the word; no name when
    it is not an option.
    """
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        known = name in FLAGS[command] or name in WITH_VALUE[command]
        return (name, value if equals else None) if known else ("", None)
    if word.startswith("-") and len(word) > 1 and all(letter in SHORT[command] for letter in word[1:]):
        return SHORT[command][word[-1]], None
    return "", None


def key(options: Mapping[str, list[str]]) -> str:
    """Return the key that starts an entry: GRUB's name of it, or a character."""
    name = (options.get("hotkey") or [""])[-1]
    return name if re.fullmatch(r"f\d+|backspace|tab|delete|insert", name) else name[:1]


def index(default: str, entries: Sequence[MenuEntry]) -> int:
    """Return which entry a value of `default` names, by id, title or number; 0 when it names none."""
    first = _split(default)[0]
    for names in ([entry.label for entry in entries], [entry.title for entry in entries]):
        if first and first in names:
            return names.index(first)
    number = _number(first)
    return number if number is not None and number < len(entries) else 0


def _split(default: str) -> tuple[str, str]:
    """Return what is before and after the first `>`; two of them are one character of a name."""
    match = re.match(r"((?:[^>]|>>)*)>?(.*)", default, re.DOTALL)
    assert match is not None
    return match.group(1).replace(">>", ">"), match.group(2)


def rest(default: str) -> str:
    """Return what a value of `default` says to the submenu that it names."""
    return _split(default)[1]


def name(title: str) -> str:
    """Return a title as a value of `default` names it."""
    return title.replace(">", ">>")


def _number(text: str) -> int | None:
    """Read a number as strtoul(3) does with base 0; None when there is none."""
    match = re.match(r"\s*(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)", text)
    if match is None:
        return None
    digits = match.group(1)
    return int(
        digits, 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") and len(digits) > 1 else 10
    )


def timeout(variables: Mapping[str, str]) -> float | None:
    """Return the seconds that a menu waits; None for ever, as without a number."""
    number = _number(variables.get("timeout", ""))
    return None if number is None else float(number)
