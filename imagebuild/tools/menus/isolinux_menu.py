"""isolinux' menu, read as isolinux reads it: its own configuration first, then by the menu program that this
starts.

Sources: com32/elflink/ldlinux/{readconfig,ldlinux}.c and com32/menu/{readconfig,menumain}.c of syslinux 6.04
(the two parsers differ in little), core/fs/iso9660/iso9660.c (where it looks), doc/menu.txt. Words are
case-insensitive, names of files are not; included files are as if they stood in the place of the line,
relative paths start at the directory of the configuration that was found.
"""

from dataclasses import dataclass

from imagebuild.errors import BuildError
from imagebuild.tools.menus.isolinux_config import Configuration
from imagebuild.tools.menus.isolinux_parts import IsolinuxLine, List, Place, first_time, shown
from imagebuild.tools.menus.menu import DEPTH, BootVolume, Menu, MenuEntry, MenuLoader, Spot

DIRECTORIES = ("/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", "")
NAMES = ("isolinux.cfg", "syslinux.cfg")
MENU_PROGRAMS = ("menu.c32", "vesamenu.c32")


@dataclass(frozen=True, kw_only=True)
class IsolinuxReading:
    """A menu, and every line of its files that took effect, in order."""

    menu: Menu
    lines: tuple[IsolinuxLine, ...]


def read(volume: BootVolume, path: str | None = None) -> Menu | None:
    """Return the menu that isolinux shows (not given: of the configuration that it looks for); None when
    there is none. Raises BuildError.
    """
    found = read_all(volume, path)
    return found.menu if found is not None else None


def configuration(volume: BootVolume) -> str | None:
    """Return the configuration that isolinux (since 4.02) finds; None when there is none."""
    paths = (f"{directory}/{name}" for directory in DIRECTORIES for name in NAMES)
    return next((path for path in paths if volume.has(path)), None)


def read_all(volume: BootVolume, path: str | None = None) -> IsolinuxReading | None:
    """Return the same with the lines that it was made of. Raises BuildError for files that include each other
    for ever.
    """
    start = path or configuration(volume)
    return _Isolinux(volume, start.rpartition("/")[0]).boot((start,), 0) if start is not None else None


class _Isolinux(Place):
    """isolinux, from its configuration to the menu that is shown."""

    def boot(self, paths: tuple[str, ...], depth: int) -> IsolinuxReading:
        """Follow what isolinux starts by itself from a configuration to the menu that is shown."""
        core = Configuration(self)
        for path in paths:
            core.file(path, DEPTH)
        core.end()
        command = core.ui or core.default
        label, program, words = core.resolve(command)
        if label is not None and label.kind == "config":
            return self._configuration(program, words, depth)
        if program.rpartition("/")[2].lower() in MENU_PROGRAMS:
            return self._program(core, paths, words)
        return self._shell(core, paths[0])

    def _configuration(self, program: str, words: list[str], depth: int) -> IsolinuxReading:
        if depth == DEPTH:
            raise BuildError(f"{program}: isolinux' configurations lead to each other for ever")
        if words:
            self.directory = self.absolute(words[0])
        return self.boot((self.absolute(program),), depth + 1)

    def _program(self, core: Configuration, paths: tuple[str, ...], words: list[str]) -> IsolinuxReading:
        """Return what a menu program shows: of this configuration, or of those that it is given."""
        if words and words != ["~"]:
            parsed = Configuration(self)
            for word in words:
                for path in paths if word == "~" else (self.absolute(word),):
                    parsed.file(path, DEPTH)
            parsed.end()
            core, paths = parsed, tuple(self.absolute(word) for word in words)
        return self._reading(core, paths[0], prompt=False)

    def _shell(self, core: Configuration, path: str) -> IsolinuxReading:
        return self._reading(core, path, prompt=True)

    def _reading(self, core: Configuration, path: str, *, prompt: bool) -> IsolinuxReading:
        root = core.started(has_ui=bool(core.ui) or prompt)
        top = core.all_entries() if prompt else self._entries(core, core.root)
        way, timeout = self._shell_default(core, top) if prompt else self._menu_default(core, root)
        menu = Menu(
            loader=MenuLoader.ISOLINUX,
            spot=Spot(volume=self.volume.name, file=path, line=1),
            entries=top,
            default=way,
            timeout=timeout,
            prompt=prompt,
            files=tuple(dict.fromkeys(self.files)),
            unsure=tuple(dict.fromkeys(self.unsure)),
        )
        return IsolinuxReading(menu=menu, lines=tuple(core.lines))

    def _entries(self, core: Configuration, menu: List) -> tuple[MenuEntry, ...]:
        entries = []
        for item in menu.items:
            if item.disabled:
                continue
            key = next((key for key, owner in menu.keys.items() if owner is item), "")
            if item.menu is not None:
                entry = MenuEntry(
                    title=shown(item.title),
                    key=key,
                    at_once=menu.at_once,
                    submenu=True,
                    spot=item.spot,
                    entries=self._entries(core, item.menu),
                )
                entries.append(entry)
            elif item.label is not None:
                own = item.label.said.get("immediate")
                entries.append(
                    core.entry(
                        item.label,
                        shown(item.title),
                        key,
                        at_once=menu.at_once if own is None else own == "yes",
                    )
                )
        return tuple(entries)

    def _menu_default(self, core: Configuration, menu: List) -> tuple[tuple[int, ...], float | None]:
        """Return the way of what a menu program boots by itself, and after how long (menumain.c,
        `run_menu`).
        """
        chosen = menu.items[menu.default] if menu.default < len(menu.items) else None
        seconds = first_time(menu.timeout, core.total)
        if chosen is not None and chosen.disabled:
            # the cursor goes to the first that can be chosen, and that ends the timeout
            chosen, seconds = (
                next((item for item in menu.items if not item.disabled), None),
                first_time(core.total),
            )
        if menu.on_timeout and seconds is not None:
            label = core.labels.get(menu.on_timeout.split()[0])
            chosen = next((item for item in core.items() if label is not None and item.label is label), None)
        if core.shift_key:
            seconds = 0.0
        return (core.way(chosen) if chosen is not None else ()), seconds

    def _shell_default(
        self, core: Configuration, entries: tuple[MenuEntry, ...]
    ) -> tuple[tuple[int, ...], float | None]:
        """Return what isolinux boots when there is no menu: at once without `prompt`, else after its timeout
        (ldlinux.c, `main`).
        """
        command = core.on_timeout if core.prompt and core.on_timeout else core.default
        name = command.split()[0] if command.split() else ""
        index = next((number for number, entry in enumerate(entries) if entry.label == name), None)
        seconds = first_time(core.timeout, core.total) if core.prompt else 0.0
        if index is None and name:
            self.unsure.append(f"isolinux boots {command!r}, which is not a label")
        return ((index,) if index is not None else ()), seconds if command else None
