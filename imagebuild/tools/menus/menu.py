"""What a boot menu offers, whichever boot loader reads it: entries, which of them is booted by itself, and
when.

`grub_menu` and `isolinux_menu` make these of files; `medium` finds the files of an ISO as its firmware would.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

# how deep files may include each other: nobody's do, but a hostile one includes itself (syslinux.cfg(5): 16)
DEPTH = 16
ISO, ESP = "cd0", "esp"


class MenuLoader(StrEnum):
    """Who reads the menu."""

    GRUB = "grub"
    ISOLINUX = "isolinux"


@dataclass(frozen=True, kw_only=True)
class BootVolume:
    """A file system that a boot loader reads: ISO or ESP. `uuid` as GRUB writes it; paths begin with a slash.

    `read` returns a file's text, and None when there is no such file; `has` says whether there is one, of any
    kind. `actual` returns a path as it is written on the volume, where names are found whatever their case.
    """

    name: str
    label: str
    uuid: str
    read: Callable[[str], str | None]
    has: Callable[[str], bool]
    actual: Callable[[str], str] = str

    def changed(self, texts: Mapping[tuple[str, str], str]) -> "BootVolume":
        """Return the volume with other texts, by (volume, path), in the place of its own."""
        mine = {path: text for (volume, path), text in texts.items() if volume == self.name}
        return replace(self, read=lambda path: mine[path] if path in mine else self.read(path))


@dataclass(frozen=True, kw_only=True)
class Spot:
    """A line of a file (from 1) on a volume."""

    volume: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{'the ESP, ' if self.volume == ESP else ''}{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class MenuEntry:
    """One line of a menu that can be chosen; a submenu has `entries`.

    `title` is what is on the screen. `key` is the character (lower case) that chooses it, or GRUB's name of a
    key (`f1`, `backspace`), or empty: it starts the entry if `at_once`, and else it moves the cursor there,
    and Return starts it. `label` is isolinux' label, which can be typed at its prompt, or GRUB's id. `kernel`
    is empty for what boots no kernel; `arguments` are its words, without initrd=.
    """

    title: str
    label: str = ""
    key: str = ""
    at_once: bool = True
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    entries: tuple["MenuEntry", ...] = ()
    submenu: bool = False
    spot: Spot


@dataclass(frozen=True, kw_only=True)
class Menu:
    """A menu as the boot loader shows it, its entries in the order in which the cursor goes over them.

    `default` is the way to the entry that is booted by itself and at which the cursor stands: an index for
    each level of submenus; empty when none is. `timeout` in seconds: 0 boots at once and shows no menu, None
    waits for ever. `prompt`: there is no menu, but isolinux' `boot:`, where labels are typed. `files` are all
    that were read. `unsure` says what could not be known, a sentence's rest each.
    """

    loader: MenuLoader
    spot: Spot
    entries: tuple[MenuEntry, ...]
    default: tuple[int, ...] = ()
    timeout: float | None = None
    prompt: bool = False
    files: tuple[Spot, ...] = ()
    unsure: tuple[str, ...] = ()

    def at(self, way: tuple[int, ...]) -> MenuEntry | None:
        """Return the entry at a way of indices; None when there is none."""
        entries, entry = self.entries, None
        for index in way:
            if index >= len(entries):
                return None
            entry = entries[index]
            entries = entry.entries
        return entry

    @property
    def booted(self) -> MenuEntry | None:
        """The entry that is booted when nobody touches a key; None when none is, or when it boots no kernel
        of its own.
        """
        entry = self.at(self.default) if self.default and self.timeout is not None else None
        return None if entry is None or entry.submenu else entry

    def walk(self) -> Iterator[tuple[tuple[int, ...], MenuEntry]]:
        """Yield every entry with its way, submenus before what is in them."""
        yield from _walk((), self.entries)


def _walk(
    way: tuple[int, ...], entries: tuple[MenuEntry, ...]
) -> Iterator[tuple[tuple[int, ...], MenuEntry]]:
    for index, entry in enumerate(entries):
        yield (*way, index), entry
        yield from _walk((*way, index), entry.entries)
