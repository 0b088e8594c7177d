"""isolinux' configuration files, read to the end as its menu programs read them: labels, menus, settings.

Sources: com32/menu/readconfig.c and com32/elflink/ldlinux/readconfig.c of syslinux 6.04, doc/menu.txt. Words
are case-insensitive; included files are as if they stood in the place of the line.
"""

import re
from dataclasses import dataclass, field

from imagebuild.errors import BuildError
from imagebuild.tools.menus.menu import DEPTH, Entry, Spot, Volume

# kernel-like words, and the suffixes of what boots no kernel (ldlinux.c, file_extensions)
KINDS = ("localboot", "kernel", "linux", "boot", "bss", "pxe", "fdimage", "comboot", "com32", "config")
NO_KERNEL = (".c32", ".img", ".bss", ".bin", ".bs", ".0", ".cbt", ".com")
LONGEST = 4096
MOST_LINES = 50_000


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
class Line:
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

    def __init__(self, volume: Volume, directory: str) -> None:
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


class Configuration:
    """A configuration with everything that it includes, as one."""

    def __init__(self, owner: Place) -> None:
        self.owner = owner
        self.root = self.current = self.start = List(parent=None)
        self.hidden = List(parent=None)
        self.label: Label | None = None
        self.labels: dict[str, Label] = {}
        self.lines: list[Line] = []
        self.append = self.default = self.ui = self.on_timeout = ""
        self.timeout = self.total = 0
        self.prompt = self.shift_key = False

    # --- reading ---

    def file(self, path: str, depth: int) -> None:
        """Read a file, in the place where it is included. Raises BuildError for files that include each other
        for ever.
        """
        path = self.owner.volume.actual(path)
        text = self.owner.volume.read(path)
        if text is None:
            self.owner.unsure.append(f"{path} is not on the medium")
            return
        if depth == 0:
            raise BuildError(f"{path}: isolinux' files include each other more than {DEPTH} deep")
        self.owner.files.append(Spot(volume=self.owner.volume.name, file=path, line=1))
        help_text = False
        for number, line in enumerate(text.split("\n"), start=1):
            self.owner.count += 1
            if self.owner.count > MOST_LINES:
                raise BuildError(f"{path}:{number}: isolinux' configuration does not come to an end")
            word, rest = split_line(line[:LONGEST])
            if help_text or word == "text":
                help_text = word != "endtext"
                continue
            self._line(word, rest, Spot(volume=self.owner.volume.name, file=path, line=number), depth)

    def _line(self, word: str, rest: str, spot: Spot, depth: int) -> None:
        if word == "menu":
            second, rest = split_line(rest)
            word = f"menu {second}"
        if not word or word.startswith("#"):
            return
        self.lines.append(
            Line(word=word, rest=rest, spot=spot, label=self.label.name if self.label is not None else "")
        )
        if word in ("include", "menu include"):
            self._include(rest, spot, depth)
        elif word.startswith("menu "):
            self._menu(word.removeprefix("menu "), rest, spot)
        elif word == "label":
            self.end()
            self.label = Label(name=rest.split()[0] if rest.split() else "", spot=spot, kernel=rest)
        elif self.label is not None and word in (*KINDS, "append", "initrd"):
            self._of_label(self.label, word, rest)
        else:
            self._setting(word, rest)

    def _include(self, rest: str, spot: Spot, depth: int) -> None:
        name, *title = rest.split(None, 1)[:2] or [""]
        if title:
            self.end()
            self._begin(title[0], spot)
        self.file(self.owner.absolute(name), depth - 1)
        if title:
            self._leave()

    def _of_label(self, label: Label, word: str, rest: str) -> None:
        if word in KINDS:
            label.kind, label.kernel = word, rest
        else:
            label.said[word] = rest

    def _setting(self, word: str, rest: str) -> None:
        match word:
            case "append":
                self.append = rest
            case "default":
                self.default = rest
            case "ui":
                self.ui = rest
            case "ontimeout":
                self.on_timeout = self.current.on_timeout = rest
            case "timeout":
                self.timeout = self.current.timeout = _number(rest)
            case "totaltimeout":
                self.total = _number(rest)
            case "prompt":
                self.prompt = _number(rest) != 0

    def _menu(self, word: str, rest: str, spot: Spot) -> None:
        match word:
            case "begin":
                self.end()
                self._begin(rest, spot)
            case "end":
                self._leave()
            case "separator":
                self.end()
                self.current.items.append(Item(label=None, title="", spot=spot, disabled=True))
            case "start":
                self.start = self.current
            case "shiftkey":
                self.shift_key = True
            case "title":
                # it stands for what `begin` said, too, but not for a `menu label`
                if self.current.item is not None and not self.current.item.labelled:
                    self.current.item.title = rest
            case "immediate" | "noimmediate" if self.label is None:
                self.current.at_once = word == "immediate"
            case _:
                self._menu_of_label(word, rest)

    def _menu_of_label(self, word: str, rest: str) -> None:
        if self.label is None:
            self._menu_of_submenu(word, rest)
        elif word in ("immediate", "noimmediate"):
            self.label.said["immediate"] = "yes" if word == "immediate" else "no"
        elif word in (
            "label",
            "default",
            "hide",
            "disable",
            "disabled",
            "quit",
            "goto",
            "exit",
            "help",
            "indent",
        ):
            self.label.said[
                "disabled" if word == "disable" else f"menu {word}" if word in ("label", "default") else word
            ] = rest

    def _menu_of_submenu(self, word: str, rest: str) -> None:
        item, parent = self.current.item, self.current.parent
        if item is None or parent is None:
            return
        if word == "label":
            item.title, item.labelled = rest, True
            _take_key(parent, item)
        elif word == "default":
            parent.default = parent.items.index(item)

    def _begin(self, title: str, spot: Spot) -> None:
        if self.current.depth == DEPTH:
            raise BuildError(f"{spot}: isolinux' submenus are nested more than {DEPTH} deep")
        below = List(
            depth=self.current.depth + 1,
            parent=self.current,
            timeout=self.current.timeout,
            on_timeout=self.current.on_timeout,
            at_once=self.current.at_once,
        )
        below.item = Item(label=None, title=title, spot=spot, menu=below)
        self.current.items.append(below.item)
        self.current = below

    def _leave(self) -> None:
        self.end()
        self.current = self.current.parent or self.current

    def end(self) -> None:
        """The label that was read is whole (readconfig.c, `record`)."""
        label, self.label = self.label, None
        if label is None:
            return
        said = label.said
        said.setdefault("append", self.append)
        said["append"] = "" if said["append"].strip() == "-" else said["append"]
        self.labels.setdefault(label.name, label)
        menu = self.hidden if "hide" in said else self.current
        item = Item(
            label=label,
            title=said.get("menu label", label.name),
            spot=label.spot,
            disabled="disabled" in said,
        )
        menu.items.append(item)
        if "menu label" in said and not item.disabled:
            _take_key(menu, item)
        if "menu default" in said and not item.disabled:
            menu.default = len(menu.items) - 1

    # --- what was read ---

    def resolve(self, command: str) -> tuple[Label | None, str, list[str]]:
        """Return the label that a command line names, the program that is started and the words that it is
        given.
        """
        words = command.split()
        label = self.labels.get(words[0]) if words else None
        if label is not None:
            words = [*label.kernel.split(), *label.said.get("append", "").split(), *words[1:]]
        program = words[0] if words else ""
        if label is not None and label.kind == "com32" and not program.endswith(".c32"):
            program += ".c32"
        return label, program, words[1:]

    def started(self, *, has_ui: bool) -> List:
        """Return the menu that is shown first, its default that of `default` where a `ui` is (readconfig.c,
        `parse_configs`).
        """
        label = self.labels.get(self.default.split()[0]) if has_ui and self.default.split() else None
        for menu, item in self._items():
            if label is not None and item.label is label:
                menu.default, self.start = menu.items.index(item), menu
        return self.start

    def _items(self) -> list[tuple[List, Item]]:
        found, waiting = [], [self.root]
        while waiting:
            menu = waiting.pop()
            found += [(menu, item) for item in menu.items]
            waiting += [item.menu for item in menu.items if item.menu is not None]
        return found

    def items(self) -> list[Item]:
        """Return what all menus have."""
        return [item for _, item in self._items()]

    def way(self, item: Item) -> tuple[int, ...]:
        """Return the way to something that can be chosen: indices of what is not disabled."""
        for menu, other in self._items():
            if other is item and not item.disabled:
                index = [candidate for candidate in menu.items if not candidate.disabled].index(item)
                return (*(self.way(menu.item) if menu.item is not None else ()), index)
        return ()

    def all_entries(self) -> tuple[Entry, ...]:
        """Return every label: at the prompt each can be typed."""
        return tuple(self.entry(label, label.name, "", at_once=True) for label in self.labels.values())

    def entry(self, label: Label, title: str, key: str, *, at_once: bool) -> Entry:
        """Return a label as an entry."""
        words = [*label.kernel.split(), *label.said.get("append", "").split()]
        words += [f"initrd={label.said['initrd']}"] if "initrd" in label.said else []
        program = words[0] if words else ""
        other = {"quit", "goto", "exit", "help"} & set(label.said)
        boots = (
            label.kind in ("kernel", "linux")
            and not other
            and not (label.kind == "kernel" and program.lower().endswith(NO_KERNEL))
        )
        # only the first counts (kernel.c: strstr)
        initrds = (
            next((word.removeprefix("initrd=") for word in words[1:] if word.startswith("initrd=")), "")
            if boots
            else ""
        )
        return Entry(
            title=title,
            label=label.name,
            key=key,
            at_once=at_once,
            kernel=self.owner.absolute(program) if boots and program else "",
            initrds=tuple(self.owner.absolute(name) for name in initrds.split(",") if name),
            arguments=tuple(word for word in words[1:] if not word.startswith("initrd=")) if boots else (),
            spot=label.spot,
        )


def split_line(line: str) -> tuple[str, str]:
    """Return a line's first word, in small letters, and the rest of it."""
    parts = line.replace("\r", "").strip(" \t").split(None, 1)
    return (parts[0].lower() if parts else ""), (parts[1].strip() if len(parts) > 1 else "")


def first_time(*tenths: int) -> float | None:
    """Return the first of the times at which something is booted, none of which counts when it is 0."""
    return min((time / 10 for time in tenths if time), default=None)


def _number(text: str) -> int:
    match = re.match(r"\s*([+-]?\d+)", text)
    return max(0, int(match.group(1))) if match else 0


def _take_key(menu: List, item: Item) -> None:
    """The character after the first caret is the entry's, unless it has an owner."""
    key = item.title.partition("^")[2][:1].lower()
    if key and key not in menu.keys:
        menu.keys[key] = item


def shown(title: str) -> str:
    """Return a title as it is on the screen: without the caret before its key."""
    return title.replace("^", "")
