"""What an isolinux configuration consists of: labels, items, menus, lines; how words and numbers are read.

Sources: com32/menu/readconfig.c and com32/elflink/ldlinux of syslinux 6.04.
"""

import re
from dataclasses import dataclass, field

from imagebuild.tools.menus.menu import BootVolume, Spot

# kernel-like words, and the suffixes of what does not boot a kernel (ldlinux.c, file_extensions)
KINDS = ("localboot", "kernel", "linux", "boot", "bss", "pxe", "fdimage", "comboot", "com32", "config")
NO_KERNEL = (".c32", ".img", ".bss", ".bin", ".bs", ".0", ".cbt", ".com")


@dataclass(eq=False)
class Label:
    """A label while it is read: what its lines said, by their first word."""

    name: str
    spot: Spot
    said: dict[str, str] = field(default_factory=dict)
    kind: str = "kernel"
    kernel: str = ""


@dataclass(eq=False)
class Item:
    """What can be chosen, or a line between (`disabled`)."""

    label: Label | None
    title: str
    spot: Spot
    disabled: bool = False
    menu: "List | None" = None
    labelled: bool = False


@dataclass(eq=False)
class List:
    """A menu or submenu while it is read."""

    parent: "List | None"
    items: list[Item] = field(default_factory=list)
    default: int = 0
    timeout: int = 0
    on_timeout: str = ""
    at_once: bool = False
    keys: dict[str, Item] = field(default_factory=dict)
    item: Item | None = None
    depth: int = 0


@dataclass(frozen=True, kw_only=True)
class IsolinuxLine:
    """A line as it takes effect: its words, where it is, and the label that it belongs to (empty: to
    none).
    """

    word: str
    rest: str
    spot: Spot
    label: str


class Place:
    """Where isolinux reads: the volume and its working directory; what it has read there, and what was
    missing.
    """

    def __init__(self, volume: BootVolume, directory: str) -> None:
        self.volume = volume
        self.directory = directory
        self.count = 0
        self.unsure: list[str] = []
        self.files: list[Spot] = []

    def absolute(self, path: str) -> str:
        """Return a path as isolinux opens it."""
        parts: list[str] = []
        for part in (path if path.startswith("/") else f"{self.directory}/{path}").split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part] if part not in ("", ".") else parts
        return "/" + "/".join(parts)


def split_line(line: str) -> tuple[str, str]:
    """Return a line's first word, in small letters, and the rest of it."""
    parts = line.replace("\r", "").strip(" \t").split(None, 1)
    return (parts[0].lower() if parts else ""), (parts[1].strip() if len(parts) > 1 else "")


def first_time(*tenths: int) -> float | None:
    """Return the first of the times at which something is booted, none of which counts when it is 0."""
    return min((time / 10 for time in tenths if time), default=None)


def number_of(text: str) -> int:
    """Return the number at the beginning of a text, as atoi(3) reads it; 0 for a negative one."""
    match = re.match(r"\s*([+-]?\d+)", text)
    return max(0, int(match.group(1))) if match else 0


def take_key(menu: List, item: Item) -> None:
    """The character after the first caret is the entry's, unless it has an owner."""
    key = item.title.partition("^")[2][:1].lower()
    if key and key not in menu.keys:
        menu.keys[key] = item


def shown(title: str) -> str:
    """Return a title as it is on the screen: without the caret before its key."""
    return title.replace("^", "")
