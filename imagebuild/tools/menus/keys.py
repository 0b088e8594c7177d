"""Which keys start an entry of a boot menu, as a person would press them. They follow from what the menu
says, and are never guessed.

isolinux' menu (syslinux 6.04, com32/menu/menumain.c and doc/menu.txt): a hot key moves the cursor to the
first entry that has it, and only MENU IMMEDIATE starts it; Home goes to the first entry that can be chosen,
Down to the next such one; a key ends the countdown, and brings up a hidden menu without doing anything else.
GRUB's (2.06, grub-core/normal/menu.c): a hot key starts the entry, Home and Down move, a key ends the
countdown. Names of keys are QEMU's (QAPI, QKeyCode).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imagebuild.errors import BuildError
from imagebuild.tools.menus.menu import Menu, MenuEntry, MenuLoader

HOME, DOWN, RETURN = "home", "down", "ret"
# the boot prompt's own words (syslinux 6.04, core/ui.inc)
PROMPT = "boot:"
# characters that a US keyboard, which is what boot loaders expect, has on a key of another name
NAMED = {
    "-": "minus",
    "=": "equal",
    ".": "dot",
    ",": "comma",
    "/": "slash",
    " ": "spc",
    ";": "semicolon",
    "'": "apostrophe",
    "[": "bracket_left",
    "]": "bracket_right",
    "\\": "backslash",
    "`": "grave_accent",
    "_": "shift-minus",
    "+": "shift-equal",
    ":": "shift-semicolon",
}
# GRUB's names of keys (2.06, grub-core/commands/menuentry.c, hotkey_aliases), which are QEMU's, too; and f1 …
# f12
GRUB_NAMES = ("backspace", "tab", "delete", "insert")
FUNCTION_KEY = re.compile(r"f([1-9]|1[0-2])")
# what an unattended installation is told, and what marks an entry that is for something else
ASKS = re.compile(r"(inst\.)?ks=(.+)")
OTHERWISE = re.compile(r"(inst\.)?rescue|rd\.live\.check(=.*)?|nomodeset|inst\.text|fips=1")
LONGEST_TITLE = 30


@dataclass(frozen=True, kw_only=True)
class KeyPresses:
    """How an entry is started: `keys` in their order, none when it is started by itself; `shown`: words that
    show that the menu is there.

    `typed` is the one character that starts it at once, if there is one: it can be typed on a serial console,
    too. `heard`: the kernel that is started speaks on the serial console.
    """

    title: str
    keys: tuple[str, ...]
    shown: tuple[str, ...]
    typed: str = ""
    heard: bool = False

    def seen_in(self, text: str) -> bool:
        """Whether what a screen shows is this menu."""
        return any(words in text for words in self.shown)


def unattended(menu: Menu, volume: str) -> KeyPresses:
    """Return how the unattended installation is started; `volume` is the medium's label.

    Raises BuildError: there is no such entry, there are several that differ, or it cannot be known where the
    cursor goes.
    """
    asking = [
        (way, entry, asked) for way, entry in menu.walk() if entry.kernel and (asked := _kickstart(entry))
    ]
    own = [
        asked
        for asked in asking
        if asked[2].startswith((f"hd:LABEL={volume}:", "hd:LABEL=" + volume.replace(" ", r"\x20") + ":"))
    ] or asking
    if len({asked for *_, asked in own}) > 1:
        places = ", ".join(f"{asked} ({entry.spot})" for _, entry, asked in own)
        raise BuildError(
            f"the boot menu has entries with different kickstarts: {places}",
            hint="which one is the unattended installation?",
        )
    if not own:
        raise BuildError(
            f"no entry of the boot menu {menu.spot} asks for a kickstart",
            hint="imagebuild iso add-kickstart puts one there",
        )
    plain = [each for each in own if not any(OTHERWISE.fullmatch(word) for word in each[1].arguments)] or own
    return to_entry(menu, plain[0][0])


def _kickstart(entry: MenuEntry) -> str:
    asked = [match.group(2) for word in entry.arguments if (match := ASKS.fullmatch(word))]
    return (
        "" if not asked or any(word in ("rescue", "inst.rescue") for word in entry.arguments) else asked[-1]
    )


def to_entry(menu: Menu, way: tuple[int, ...]) -> KeyPresses:
    """Return how the entry at a way of indices is started. Raises BuildError when that cannot be known, or no
    menu is shown.
    """
    entry = menu.at(way)
    assert entry is not None, "the way is the menu's own"
    heard = any(word.startswith("console=ttyS") for word in entry.arguments)
    if menu.timeout == 0:
        if menu.default == way:
            return KeyPresses(title=entry.title, keys=(), shown=(), heard=heard)
        raise BuildError(
            f"the boot menu {menu.spot} is not shown: another entry is started at once",
            hint=f"set a timeout, to choose {entry.title!r}",
        )
    if menu.prompt:
        return KeyPresses(
            title=entry.title, keys=(*_spelt(entry.label, menu), RETURN), shown=(PROMPT,), heard=heard
        )
    keys = tuple(key for level in range(len(way)) for key in _one_level(menu, way, level))
    typed = entry.key if len(way) == 1 and keys == (entry.key,) and len(entry.key) == 1 else ""
    return KeyPresses(title=entry.title, keys=keys, shown=tuple(_titles(menu)), typed=typed, heard=heard)


def _one_level(menu: Menu, way: tuple[int, ...], level: int) -> tuple[str, ...]:
    """Return the keys that start (or, before the last level, open) what a way goes through at a level."""
    before = menu.at(way[:level])
    entries = before.entries if before is not None else menu.entries
    entry = entries[way[level]]
    first = next(each for each in entries if each.key == entry.key)
    # Home brings up a menu that is hidden; where none is, it does no harm
    opening = (HOME,) if menu.loader is MenuLoader.ISOLINUX and level == 0 else ()
    if entry.key and first is entry and (key := _named(entry.key, menu.loader)):
        return (*opening, key) if entry.at_once else (*opening, key, RETURN)
    if menu.unsure:
        raise BuildError(
            f"it is not certain where {entry.title!r} is in the boot menu: {'; '.join(menu.unsure)}",
            hint=f"give it a hot key ({entry.spot})",
        )
    return (*opening, HOME, *(DOWN,) * way[level], RETURN)


def _named(key: str, loader: MenuLoader) -> str:
    """Return QEMU's name of a hot key; empty for one that it has no name for."""
    if len(key) == 1:
        return NAMED.get(key, key.lower() if key.isascii() and key.isalnum() else "")
    return key if loader is MenuLoader.GRUB and (key in GRUB_NAMES or FUNCTION_KEY.fullmatch(key)) else ""


def _spelt(label: str, menu: Menu) -> Iterator[str]:
    for letter in label:
        key = _named(letter, menu.loader)
        if not key:
            raise BuildError(
                f"the label {label!r} of {menu.spot} cannot be typed",
                hint="give it a name of letters and digits",
            )
        yield f"shift-{key}" if letter.isupper() else key


def _titles(menu: Menu) -> Iterator[str]:
    """Yield the beginnings of titles: long ones are cut off on the screen, and what a variable stands for is
    not known.
    """
    for entry in menu.entries:
        words = entry.title.partition("$")[0].strip()[:LONGEST_TITLE]
        if len(words) > len("linux"):
            yield words
