"""isolinux' configuration files, read to the end as its menu programs read them: labels, menus, settings.

Sources: com32/menu/readconfig.c and com32/elflink/ldlinux/readconfig.c of syslinux 6.04, doc/menu.txt. Words
are case-insensitive; included files are as if they stood in the place of the line.
"""

from imagebuild.errors import BuildError
from imagebuild.tools.menus.isolinux_parts import (
    KINDS,
    NO_KERNEL,
    IsolinuxLine,
    Item,
    Label,
    List,
    Place,
    number_of,
    split_line,
    take_key,
)
from imagebuild.tools.menus.menu import DEPTH, MenuEntry, Spot

# what `menu WORD` says of a label, and the name under which it is kept
OF_LABEL = {"label": "menu label", "default": "menu default", "disable": "disabled"} | {
    word: word for word in ("hide", "disabled", "quit", "goto", "exit", "help", "indent")
}
LONGEST = 4096
MOST_LINES = 50_000


class Configuration:
    """A configuration with everything that it includes, as one."""

    def __init__(self, owner: Place) -> None:
        self.owner = owner
        self.root = self.current = self.start = List(parent=None)
        self.hidden = List(parent=None)
        self.label: Label | None = None
        self.labels: dict[str, Label] = {}
        self.lines: list[IsolinuxLine] = []
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
            IsolinuxLine(
                word=word, rest=rest, spot=spot, label=self.label.name if self.label is not None else ""
            )
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
                self.timeout = self.current.timeout = number_of(rest)
            case "totaltimeout":
                self.total = number_of(rest)
            case "prompt":
                self.prompt = number_of(rest) != 0

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
        elif word in OF_LABEL:
            self.label.said[OF_LABEL[word]] = rest

    def _menu_of_submenu(self, word: str, rest: str) -> None:
        item, parent = self.current.item, self.current.parent
        if item is None or parent is None:
            return
        if word == "label":
            item.title, item.labelled = rest, True
            take_key(parent, item)
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
            take_key(menu, item)
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
        items, waiting = [], [self.root]
        while waiting:
            menu = waiting.pop()
            items += [(menu, item) for item in menu.items]
            waiting += [item.menu for item in menu.items if item.menu is not None]
        return items

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

    def all_entries(self) -> tuple[MenuEntry, ...]:
        """Return every label: at the prompt each can be typed."""
        return tuple(self.entry(label, label.name, "", at_once=True) for label in self.labels.values())

    def entry(self, label: Label, title: str, key: str, *, at_once: bool) -> MenuEntry:
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
        return MenuEntry(
            title=title,
            label=label.name,
            key=key,
            at_once=at_once,
            kernel=self.owner.absolute(program) if boots and program else "",
            initrds=tuple(self.owner.absolute(name) for name in initrds.split(",") if name),
            arguments=tuple(word for word in words[1:] if not word.startswith("initrd=")) if boots else (),
            spot=label.spot,
        )
