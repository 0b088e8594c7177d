"""GRUB 2's menu, read as GRUB reads it: its scripts are run, as far as a menu needs it, and each entry is tried.

What is run follows rhboot's GRUB 2.06 (normal/{main,menu}.c, script/execute.c, commands/{menuentry,search_wrap,test,configfile}.c). What
only a machine knows (its time, its memory, a held key) is taken for untrue, and said in the menu's `unsure`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools import grub_choice, grub_script, grub_test
from imagebuild.tools.boot_menu import DEPTH, Entry, Loader, Menu, Spot, Volume
from imagebuild.tools.grub_script import Command, For, Function, If, Kind, Statement, While, Word

KERNELS = ("linux", "linux16", "linuxefi", "linux32")
INITRDS = ("initrd", "initrd16", "initrdefi")
# normal/main.c, `features`
FEATURES = (
    "feature_chainloader_bpb", "feature_ntldr", "feature_platform_search_hint", "feature_default_font_path", "feature_all_video_module",
    "feature_menuentry_id", "feature_menuentry_options", "feature_200_final", "feature_nativedisk_cmd", "feature_timeout_style",
)  # fmt: skip
# kept by `configfile`, which opens a context of its own
EXPORTED = frozenset({"root", "prefix", "cmdpath", "fw_path", "pager", "lang", "grub_cpu", "grub_platform", *FEATURES})
# they say what only the machine knows, and are untrue on most
ASKING = frozenset({"keystatus", "cpuid", "probe", "smbios", "regexp", "sleep", "read", "getenv", "rdmsr", "hashsum", "cmp", "nativedisk"})
# statements that one menu may run: a hostile one loops for ever
MOST_STEPS = 20_000
SEARCHES = {"search.fs_label": "--label", "search.fs_uuid": "--fs-uuid", "search.file": "--file"}
_Loaded = tuple[tuple[Spot, Command, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Where an entry is written, and the commands that loaded a kernel when it was tried (None: they are not in a file of the medium)."""

    statement: Command
    siblings: tuple[Statement, ...]
    spot: Spot
    kernels: _Loaded = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A menu with the definition of each of its entries, by their way."""

    menu: Menu
    definitions: Mapping[tuple[int, ...], Definition]


_Found = tuple[tuple[Entry, ...], dict[tuple[int, ...], Definition], tuple[int, ...]]


class _Return(Exception):
    """A function's end."""


class _LoopEnd(Exception):
    """A loop's end (`again`: that of one round)."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.again = again


@dataclass
class _Shown(Exception):
    """A file that was given to `configfile` has entries: its menu is shown, and what follows is run by nobody."""

    spot: Spot
    scope: "_Scope"


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """An entry as it was defined; it is tried when the whole file was read, for then variables have the values that it will find."""

    entry: Entry
    definition: Definition
    names: tuple[str, ...]
    body: tuple[Statement, ...]


@dataclass
class _Scope:
    """A menu context: variables, entries, and what was loaded."""

    variables: dict[str, str]
    exported: set[str]
    entries: list[_Raw] = field(default_factory=list)
    kernels: list[tuple[Spot, Command, tuple[str, ...]]] = field(default_factory=list)
    initrds: tuple[str, ...] = ()

    def opened(self) -> "_Scope":
        """Return a context in this one: only what is exported is known there (kern/env.c)."""
        kept = {name: value for name, value in self.variables.items() if name in self.exported}
        return _Scope(variables=kept, exported=set(self.exported))


def read(volumes: Sequence[Volume], path: str, firmware: Firmware) -> Menu:
    """Return the menu of a grub.cfg on the first of the volumes, where GRUB itself lies. Raises BuildError (file and line)."""
    return read_all(volumes, path, firmware).menu


def read_all(volumes: Sequence[Volume], path: str, firmware: Firmware) -> Reading:
    """Return the same, with where every entry is written. Raises BuildError for a file that is not there, or never ends."""
    return _Grub(volumes, firmware).boot(path)


class _Grub:
    def __init__(self, volumes: Sequence[Volume], firmware: Firmware) -> None:
        self.volumes = {volume.name: volume for volume in volumes}
        self.home = volumes[0]
        self.firmware = firmware
        self.functions: dict[str, tuple[Function, Spot]] = {}
        self.files: list[Spot] = []
        self.unsure: list[str] = []
        self.steps = 0
        self.arguments: tuple[str, ...] = ()
        self.siblings: tuple[Statement, ...] = ()

    # --- from the firmware to the menu ---

    def boot(self, path: str) -> Reading:
        variables = dict.fromkeys(FEATURES, "y") | {
            "root": self.home.name, "prefix": f"({self.home.name}){path.rpartition('/')[0]}", "cmdpath": f"({self.home.name}){path.rpartition('/')[0]}",
            "grub_platform": "efi" if self.firmware is Firmware.UEFI else "pc", "grub_cpu": "x86_64" if self.firmware is Firmware.UEFI else "i386",
        }  # fmt: skip
        scope = _Scope(variables=variables, exported=set(EXPORTED))
        spot = Spot(volume=self.home.name, file=self.home.actual(path), line=1)
        try:
            if not self.run_file(spot, scope, DEPTH):
                raise BuildError(f"GRUB's menu {path} is not there")
        except _Shown as shown:
            spot, scope = shown.spot, shown.scope
        except (_Return, _LoopEnd):
            pass
        entries, definitions, way = self._tried(scope, (), (spot,), scope.variables.get("default", ""))
        menu = Menu(
            loader=Loader.GRUB, spot=spot, entries=entries, default=way, timeout=grub_choice.timeout(scope.variables),
            files=tuple(dict.fromkeys(self.files)), unsure=tuple(dict.fromkeys(self.unsure)),
        )  # fmt: skip
        return Reading(menu=menu, definitions=definitions)

    def _tried(self, scope: _Scope, way: tuple[int, ...], above: tuple[Spot, ...], default: str) -> _Found:
        """Try every entry of a menu; return them with their definitions, and the way of the one that `default` names, as far as it is known."""
        chosen = grub_choice.index(default, [raw.entry for raw in scope.entries])
        entries, definitions, further = [], dict[tuple[int, ...], Definition](), tuple[int, ...]()
        for index, raw in enumerate(scope.entries):
            here = (*way, index)
            entry, kernels, below = self._try(raw, scope, here, above, grub_choice.rest(default) if index == chosen else "")
            definitions[here] = replace(raw.definition, kernels=kernels)
            definitions |= below[1]
            further = below[2] if index == chosen else further
            entries.append(replace(entry, entries=below[0]))
        return tuple(entries), definitions, (chosen, *further) if entries else ()

    def _try(self, raw: _Raw, scope: _Scope, way: tuple[int, ...], above: tuple[Spot, ...], default: str) -> tuple[Entry, _Loaded, _Found]:
        """Run one entry's body as GRUB would when it is chosen, in variables of its own."""
        inner = scope.opened() if raw.entry.submenu else _Scope(variables=dict(scope.variables), exported=set(scope.exported))
        if raw.entry.submenu:
            inner.variables["default"] = default
        before, self.arguments = (self.arguments, list(self.unsure)), raw.names
        entry, below, timeout = raw.entry, inner, 0.0 if raw.entry.submenu else None
        try:
            self.run(raw.body, inner, raw.definition.spot, DEPTH - len(way))
        except _Shown as shown:
            entry, below, timeout = replace(entry, submenu=True), shown.scope, grub_choice.timeout(shown.scope.variables)
            above = (*above, shown.spot)
        except (_Return, _LoopEnd):
            pass
        self.arguments, self.unsure = before
        # an entry that goes back to a menu that it came from
        known = not entry.submenu or len(set(above)) < len(above) or len(way) > DEPTH
        found: _Found = ((), {}, ()) if known else self._tried(below, way, above, below.variables.get("default", ""))
        if timeout is None:
            found = (found[0], found[1], ())
        kernel, *arguments = inner.kernels[-1][2] if inner.kernels and inner.kernels[-1][2] else ("",)
        return replace(entry, kernel=kernel, arguments=tuple(arguments), initrds=inner.initrds), tuple(inner.kernels), found

    # --- files ---

    def locate(self, path: str, scope: _Scope) -> tuple[Volume | None, str]:
        """Return the volume and the path on it that a name of GRUB's means: `(device)/path`, or one on `root`."""
        device = scope.variables.get("root", "")
        if path.startswith("(") and ")" in path:
            device, _, path = path[1:].partition(")")
        parts: list[str] = []
        for part in path.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part] if part not in ("", ".") else parts
        return self.volumes.get(device), "/" + "/".join(parts)

    def run_file(self, spot: Spot, scope: _Scope, depth: int) -> bool:
        volume = self.volumes[spot.volume]
        text = volume.read(spot.file)
        if text is None:
            return False
        if depth == 0:
            raise BuildError(f"{spot}: GRUB's menus include each other more than {DEPTH} deep")
        self.files.append(replace(spot, line=1))
        script = grub_script.parse(text)
        self.unsure += [f"{replace(spot, line=line)} cannot be parsed" for line in script.complaints]
        self.run(script.statements, scope, spot, depth)
        return True

    # --- statements ---

    def run(self, statements: tuple[Statement, ...], scope: _Scope, spot: Spot, depth: int) -> bool:
        """Run statements; return whether the last one went well."""
        well = True
        for statement in statements:
            self.siblings = statements
            well = self.step(statement, scope, spot, depth)
            scope.variables["?"] = "0" if well else "1"
        return well

    def step(self, statement: Statement, scope: _Scope, spot: Spot, depth: int) -> bool:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise BuildError(f"{spot}: GRUB's menu does not come to an end")
        match statement:
            case If():
                return self._if(statement, scope, spot, depth)
            case For():
                values = self.expand(statement.words, scope)
                return self._loop(statement.body, scope, spot, depth, ((statement.name, value) for value in values))
            case While():
                return self._loop(statement.body, scope, spot, depth, self._rounds(statement, scope, spot, depth))
            case Function():
                self.functions[statement.name] = (statement, spot)
                return True
            case Command():
                return self.command(statement, scope, replace(spot, line=statement.line), depth)

    def _if(self, statement: If, scope: _Scope, spot: Spot, depth: int) -> bool:
        for condition, body in statement.branches:
            if self.run(condition, scope, spot, depth):
                return self.run(body, scope, spot, depth)
        return self.run(statement.otherwise, scope, spot, depth)

    def _rounds(self, statement: While, scope: _Scope, spot: Spot, depth: int) -> Iterable[tuple[str, str]]:
        while self.run(statement.condition, scope, spot, depth) is not statement.until:
            yield "", ""

    def _loop(self, body: tuple[Statement, ...], scope: _Scope, spot: Spot, depth: int, rounds: Iterable[tuple[str, str]]) -> bool:
        well = True
        for name, value in rounds:
            if name:
                scope.variables[name] = value
            try:
                well = self.run(body, scope, spot, depth)
            except _LoopEnd as end:
                if not end.again:
                    break
        return well

    def expand(self, words: Sequence[Word], scope: _Scope) -> list[str]:
        found: list[str] = []
        for word in words:
            found += self._expanded(word, scope)
        return found

    def _expanded(self, word: Word, scope: _Scope) -> list[str]:
        """Return the words that one becomes: a variable without quotes is split at its blanks, and is nothing when it is empty."""
        pieces: list[str] | None = None
        for kind, text in word.pieces:
            if kind in (Kind.TEXT, Kind.QUOTED):
                pieces = [*(pieces or [])[:-1], (pieces or [""])[-1] + text]
                continue
            value = self._value(text, scope)
            parts = [value] if kind is Kind.QUOTED_VARIABLE else value.split()
            if parts:
                pieces = [*(pieces or [])[:-1], (pieces or [""])[-1] + parts[0], *parts[1:]]
        return pieces or []

    def _value(self, name: str, scope: _Scope) -> str:
        if name in ("*", "@"):
            return " ".join(self.arguments)
        if name == "#":
            return str(len(self.arguments))
        if name.isdigit():
            number = int(name)
            return self.arguments[number - 1] if 0 < number <= len(self.arguments) else ""
        return scope.variables.get(name, "")

    # --- commands ---

    def command(self, statement: Command, scope: _Scope, spot: Spot, depth: int) -> bool:
        words = self.expand(statement.words, scope)
        if not words:
            return True
        if words[0] == "!":
            return not (len(words) > 1 and self._named(words[1], words[2:], statement, scope, spot, depth))
        return self._named(words[0], words[1:], statement, scope, spot, depth)

    def _named(self, name: str, words: list[str], statement: Command, scope: _Scope, spot: Spot, depth: int) -> bool:
        if name in ("menuentry", "submenu"):
            return self._entry(name, words, statement, scope, spot)
        if name in KERNELS:
            scope.kernels.append((spot, statement, tuple(words)))
            return True
        if name in INITRDS:
            scope.initrds = tuple(words)
            return True
        if name in ("configfile", "source", ".", "normal", "extract_entries_configfile", "extract_entries_source"):
            return self._file(name, words, scope, spot, depth)
        if name in ("search", *SEARCHES):
            return self._search([SEARCHES[name], *words] if name in SEARCHES else words, scope)
        if name in ("test", "["):
            return grub_test.holds(words[:-1] if name == "[" else words, lambda path: self._has(path, scope))
        return self._plain(name, words, scope, spot, depth)

    def _plain(self, name: str, words: list[str], scope: _Scope, spot: Spot, depth: int) -> bool:
        match name:
            case "set":
                if words and "=" in words[0]:
                    self._assign(words[0], scope)
            case "unset":
                scope.variables.pop(words[0] if words else "", None)
            case "export":
                scope.exported |= set(words)
            case "eval":
                return self.run(grub_script.parse(" ".join(words)).statements, scope, spot, depth)
            case "true":
                return True
            case "false":
                return False
            case "return":
                raise _Return
            case "break" | "continue":
                raise _LoopEnd(again=name == "continue")
            case "shift":
                self.arguments = self.arguments[int(words[0]) if words and words[0].isdigit() else 1 :]
            case "setparams":
                self.arguments = tuple(words)
            case "load_env" | "loadfont" | "background_image":
                return self._loaded(name, words, scope)
            case _:
                return self._other(name, words, scope, spot, depth)
        return True

    def _other(self, name: str, words: list[str], scope: _Scope, spot: Spot, depth: int) -> bool:
        if name in self.functions:
            return self._call(name, words, scope, depth)
        if "=" in name:
            self._assign(name, scope)
        elif name in ASKING:
            self.unsure.append(f"{spot} asks the machine with {name}")
            return False
        elif name == "blscfg":
            self.unsure.append(f"{spot} takes entries from /loader/entries")
        return True

    def _assign(self, text: str, scope: _Scope) -> None:
        name, _, value = text.partition("=")
        if name == "root" and value.startswith("(") and value.endswith(")"):
            value = value[1:-1]
        scope.variables[name] = value

    def _call(self, name: str, words: list[str], scope: _Scope, depth: int) -> bool:
        function, spot = self.functions[name]
        before = self.arguments
        self.arguments = tuple(words)
        if depth == 0:
            raise BuildError(f"{spot}: GRUB's function {name} calls itself for ever")
        try:
            return self.run(function.body, scope, spot, depth - 1)
        except _Return:
            return scope.variables.get("?", "0") == "0"
        finally:
            self.arguments = before

    def _has(self, path: str, scope: _Scope) -> bool:
        volume, name = self.locate(path, scope)
        return volume is not None and volume.has(name)

    def _loaded(self, name: str, words: list[str], scope: _Scope) -> bool:
        """Whether a file can be loaded; `load_env` takes variables from it (docs/grub.texi, "The GRUB environment block")."""
        names = [word for word in words if not word.startswith("-")]
        if name != "load_env":
            return bool(names) and self._has(names[0], scope)
        chosen = next((word.partition("=")[2] for word in words if word.startswith("--file=")), "")
        given = names.pop(0) if not chosen and "-f" in words and names else ""
        volume, path = self.locate(chosen or given or f"{scope.variables.get('prefix', '')}/grubenv", scope)
        text = volume.read(path) if volume is not None else None
        for line in (text or "").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#") and (not names or key in names):
                scope.variables[key] = value
        return text is not None

    def _search(self, words: list[str], scope: _Scope) -> bool:
        options, names = grub_choice.options("search", words)
        variable = options.get("set", [])
        wanted = names[0] if names else ""
        target = (variable[-1] or "root") if variable else (names[1] if len(names) > 1 else "")
        if not wanted and variable:
            wanted, target = variable[-1], "root"
        found = next((volume for volume in self._in_order() if _matches(volume, options, wanted)), None)
        if found is None:
            self.unsure.append(f"no volume of the medium is {wanted!r}, which is searched for")
            return False
        if target:
            scope.variables[target] = found.name
        return True

    def _in_order(self) -> list[Volume]:
        return sorted(self.volumes.values(), key=lambda volume: volume.name)

    def _file(self, name: str, words: list[str], scope: _Scope, spot: Spot, depth: int) -> bool:
        del spot
        path = words[0] if words else (f"{scope.variables.get('prefix', '')}/grub.cfg" if name == "normal" else "")
        volume, file = self.locate(path, scope)
        if volume is None:
            return False
        there = Spot(volume=volume.name, file=volume.actual(file), line=1)
        if name in (".", "source", "extract_entries_source"):
            return self.run_file(there, scope, depth - 1)
        # `normal` opens a menu, but no context
        opened = scope.opened() if name != "normal" else _Scope(variables=dict(scope.variables), exported=set(scope.exported))
        well = self.run_file(there, opened, depth - 1)
        if opened.entries:
            raise _Shown(there, opened)
        return well

    # --- entries ---

    def _entry(self, name: str, words: list[str], statement: Command, scope: _Scope, spot: Spot) -> bool:
        options, names = grub_choice.options("menuentry", words)
        if not names or (statement.block is None and not options.get("source")):
            return False
        body = statement.block.statements if statement.block is not None else grub_script.parse(options["source"][-1]).statements
        entry = Entry(
            title=names[0], label=(options.get("id") or [names[0]])[-1], key=grub_choice.key(options), submenu=name == "submenu", spot=spot
        )
        definition = Definition(statement=statement, siblings=self.siblings, spot=spot)
        scope.entries.append(_Raw(entry=entry, definition=definition, names=tuple(names), body=body))
        return True


def _matches(volume: Volume, options: Mapping[str, list[str]], wanted: str) -> bool:
    if "label" in options:
        return volume.label == wanted
    if "fs-uuid" in options:
        return volume.uuid.lower() == wanted.lower()
    return "file" in options and volume.has(wanted)
