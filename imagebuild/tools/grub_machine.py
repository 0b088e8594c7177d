"""GRUB's scripts, run as far as a menu needs it: variables, conditions, functions, files, and the entries that are defined.

What is run follows rhboot's GRUB 2.06 (normal/main.c, script/execute.c, commands/{menuentry,search_wrap,configfile}.c, kern/env.c). What only a
machine knows (its time, its memory, a held key) is taken for untrue, and said in `unsure`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from imagebuild.errors import BuildError
from imagebuild.tools import grub_choice, grub_script, grub_test
from imagebuild.tools.boot_menu import DEPTH, Entry, Spot, Volume
from imagebuild.tools.grub_script import Command, For, Function, If, Kind, Statement, While, Word

KERNELS = ("linux", "linux16", "linuxefi", "linux32")
INITRDS = ("initrd", "initrd16", "initrdefi")
DEFINING = re.compile(r"(menuentry|submenu)\b")
# they ask what only the machine knows, and are untrue on most
ASKING = frozenset({"keystatus", "cpuid", "probe", "smbios", "regexp", "sleep", "read", "getenv", "rdmsr", "hashsum", "cmp", "nativedisk"})
# what a hostile menu could go on with for ever: statements run, characters of one value or one line's words
MOST_STEPS = 20_000
LONGEST = 1 << 16
SEARCHES = {"search.fs_label": "--label", "search.fs_uuid": "--fs-uuid", "search.file": "--file"}
SHOWING = ("configfile", "normal", "extract_entries_configfile")
SOURCING = ("source", ".", "extract_entries_source")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A command that loaded a kernel: where it is, as it is written, and its words as they were."""

    spot: Spot
    statement: Command
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Defined:
    """An entry as it is written: `siblings` are the statements that its own stands among."""

    entry: Entry
    names: tuple[str, ...]
    body: tuple[Statement, ...]
    statement: Command
    siblings: tuple[Statement, ...]


@dataclass(eq=False)
class Scope:
    """A menu context: variables, entries, and what was loaded."""

    variables: dict[str, str]
    exported: set[str]
    entries: list[Defined] = field(default_factory=list)
    kernels: list[Loaded] = field(default_factory=list)
    initrds: tuple[str, ...] = ()

    def opened(self) -> "Scope":
        """Return a context in this one: only what is exported is known there."""
        kept = {name: value for name, value in self.variables.items() if name in self.exported}
        return Scope(variables=kept, exported=set(self.exported))

    def copied(self) -> "Scope":
        """Return the same context without its entries."""
        return Scope(variables=dict(self.variables), exported=set(self.exported))


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where a statement is run: the context, the line, how much deeper it may go, the command and the statements that it stands among."""

    scope: Scope
    spot: Spot
    depth: int
    siblings: tuple[Statement, ...] = ()
    statement: Command | None = None


class ReturnError(Exception):
    """A function's end."""


class LoopEndError(Exception):
    """A loop's end (`again`: that of one round)."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.again = again


class ShownError(Exception):
    """A file that was given to `configfile` has entries: its menu is shown, and what follows is run by nobody."""

    def __init__(self, spot: Spot, scope: Scope) -> None:
        super().__init__()
        self.spot = spot
        self.scope = scope


class Machine:
    """GRUB with its volumes; `files` are those that it has read, `unsure` sentences' rests about what cannot be known."""

    def __init__(self, volumes: Sequence[Volume]) -> None:
        self.volumes = {volume.name: volume for volume in volumes}
        self.files: list[Spot] = []
        self.unsure: list[str] = []
        self.arguments: tuple[str, ...] = ()
        self._functions: dict[str, tuple[Function, Spot]] = {}
        self._steps = 0
        # what `return` and `break` can leave: without it they do nothing (script/execute.c)
        self.calls = 0
        self._loops = 0

    # --- files ---

    def locate(self, path: str, scope: Scope) -> tuple[Volume | None, str]:
        """Return the volume and the path on it that a name of GRUB's means: `(device)/path`, or one on `root`."""
        device = scope.variables.get("root", "")
        if path.startswith("(") and ")" in path:
            device, _, path = path[1:].partition(")")
        parts: list[str] = []
        for part in path.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part] if part not in ("", ".") else parts
        return self.volumes.get(device), "/" + "/".join(parts)

    def run_file(self, spot: Spot, scope: Scope, depth: int) -> bool:
        """Run a file in a context; return whether there is one. Raises ShownError for a menu that it leads to, BuildError."""
        text = self.volumes[spot.volume].read(spot.file)
        if text is None:
            return False
        if depth <= 0:
            raise BuildError(f"{spot}: GRUB's menus include each other more than {DEPTH} deep")
        self.files.append(replace(spot, line=1))
        script = grub_script.parse(text)
        self.unsure += [f"{replace(spot, line=line)} cannot be parsed" for line in script.complaints]
        self.run(script.statements, Here(scope=scope, spot=spot, depth=depth))
        return True

    # --- statements ---

    def run(self, statements: tuple[Statement, ...], here: Here) -> bool:
        """Run statements; return whether the last one went well."""
        well = True
        for statement in statements:
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise BuildError(f"{here.spot}: GRUB's menu does not come to an end")
            well = self._step(statement, replace(here, siblings=statements))
            here.scope.variables["?"] = "0" if well else "1"
        return well

    def _step(self, statement: Statement, here: Here) -> bool:
        match statement:
            case If():
                for condition, body in statement.branches:
                    if self.run(condition, here):
                        return self.run(body, here)
                return self.run(statement.otherwise, here)
            case For():
                return self._loop(statement.body, here, ((statement.name, value) for value in self.expand(statement.words, here.scope)))
            case While():
                return self._loop(statement.body, here, self._rounds(statement, here))
            case Function():
                self._functions[statement.name] = (statement, here.spot)
                return True
            case Command():
                return self._command(replace(here, spot=replace(here.spot, line=statement.line), statement=statement), statement.words)

    def _rounds(self, statement: While, here: Here) -> Iterable[tuple[str, str]]:
        while self.run(statement.condition, here) is not statement.until:
            yield "", ""

    def _loop(self, body: tuple[Statement, ...], here: Here, rounds: Iterable[tuple[str, str]]) -> bool:
        well = True
        self._loops += 1
        try:
            for name, value in rounds:
                if name:
                    here.scope.variables[name] = value
                try:
                    well = self.run(body, here)
                except LoopEndError as end:
                    if not end.again:
                        break
        finally:
            self._loops -= 1
        return well

    # --- words ---

    def expand(self, words: Sequence[Word], scope: Scope) -> list[str]:
        """Return the words that words become."""
        found: list[str] = []
        for word in words:
            found += self._expanded(word, scope)
        return found

    def _expanded(self, word: Word, scope: Scope) -> list[str]:
        """Return the words that one becomes: a variable without quotes is split at its blanks, and is nothing when it is empty."""
        found: list[str] | None = None
        room = LONGEST
        for kind, text in word.pieces:
            value = text if kind in (Kind.TEXT, Kind.QUOTED) else self._value(text, scope)
            parts = value.split() if kind is Kind.VARIABLE else [value]
            room -= len(value)
            if room < 0:
                raise BuildError(f"a word of GRUB's menu is longer than {LONGEST} characters")
            if parts:
                found = [*(found or [])[:-1], (found or [""])[-1] + parts[0], *parts[1:]]
        return found or []

    def _value(self, name: str, scope: Scope) -> str:
        if name in ("*", "@"):
            return " ".join(self.arguments)
        if name == "#":
            return str(len(self.arguments))
        if name.isdigit():
            number = int(name[:6])
            return self.arguments[number - 1] if 0 < number <= len(self.arguments) else ""
        return scope.variables.get(name, "")

    # --- commands ---

    def _command(self, here: Here, written: tuple[Word, ...]) -> bool:
        words = self.expand(written, here.scope)
        if words and words[0] == "!":
            return not (len(words) > 1 and self._named(words[1], words[2:], here))
        return not words or self._named(words[0], words[1:], here)

    def _named(self, name: str, words: list[str], here: Here) -> bool:
        if name in COMMANDS:
            return COMMANDS[name](self, name, words, here)
        if name in self._functions:
            return self._call(name, words, here)
        if "=" in name:
            return self._set("set", [name], here)
        if name in ASKING:
            self.unsure.append(f"{here.spot} asks the machine with {name}")
            return False
        if name == "blscfg":
            self.unsure.append(f"{here.spot} takes entries from /loader/entries")
        return True

    def _define(self, name: str, words: list[str], here: Here) -> bool:
        options, names = grub_choice.options("menuentry", words)
        source, block = options.get("source"), here.statement.block if here.statement is not None else None
        if not names or here.statement is None or (block is None and not source):
            return False
        body = block.statements if block is not None else grub_script.parse((source or [""])[-1]).statements
        label = (options.get("id") or [names[0]])[-1]
        entry = Entry(title=names[0], label=label, key=grub_choice.key(options), submenu=name == "submenu", spot=here.spot)
        here.scope.entries.append(Defined(entry=entry, names=tuple(names), body=body, statement=here.statement, siblings=here.siblings))
        return True

    def _kernel(self, name: str, words: list[str], here: Here) -> bool:
        if here.statement is not None:
            here.scope.kernels.append(Loaded(spot=here.spot, statement=here.statement, name=name, words=tuple(words)))
        return True

    def _call(self, name: str, words: list[str], here: Here) -> bool:
        function, spot = self._functions[name]
        if here.depth <= 0:
            raise BuildError(f"{spot}: GRUB's function {name} calls itself for ever")
        before = self.arguments, self._loops
        self.arguments, self._loops = tuple(words), 0
        self.calls += 1
        try:
            return self.run(function.body, Here(scope=here.scope, spot=spot, depth=here.depth - 1))
        except ReturnError:
            return here.scope.variables.get("?", "0") == "0"
        finally:
            self.calls -= 1
            self.arguments, self._loops = before

    def _set(self, name: str, words: list[str], here: Here) -> bool:
        del name
        variable, equals, value = (words or [""])[0].partition("=")
        if variable == "root" and value.startswith("(") and value.endswith(")"):
            value = value[1:-1]
        if equals:
            here.scope.variables[variable] = value
        return True

    def _unset(self, name: str, words: list[str], here: Here) -> bool:
        del name
        for word in words:
            here.scope.variables.pop(word, None)
        return True

    def _export(self, name: str, words: list[str], here: Here) -> bool:
        del name
        here.scope.exported.update(words)
        return True

    def _eval(self, name: str, words: list[str], here: Here) -> bool:
        del name
        if here.depth <= 0:
            raise BuildError(f"{here.spot}: GRUB's eval calls itself for ever")
        return self.run(grub_script.parse(" ".join(words)).statements, replace(here, depth=here.depth - 1))

    def _initrd(self, name: str, words: list[str], here: Here) -> bool:
        del name
        here.scope.initrds = tuple(words)
        return True

    def _truth(self, name: str, words: list[str], here: Here) -> bool:
        del words, here
        return name == "true"

    def _leave(self, name: str, words: list[str], here: Here) -> bool:
        if name != "return":
            if self._loops:
                raise LoopEndError(again=name == "continue")
            return True
        if not self.calls:
            return False
        if words:
            here.scope.variables["?"] = words[0]
        raise ReturnError

    def _parameters(self, name: str, words: list[str], here: Here) -> bool:
        del here
        count = int(words[0][:6]) if words and words[0].isdigit() else 1
        self.arguments = tuple(words) if name == "setparams" else self.arguments[count:]
        return True

    def _test(self, name: str, words: list[str], here: Here) -> bool:
        return grub_test.holds(words[:-1] if name == "[" else words, lambda path: self._has(path, here.scope))

    def _has(self, path: str, scope: Scope) -> bool:
        volume, name = self.locate(path, scope)
        return volume is not None and volume.has(name)

    def _there(self, name: str, words: list[str], here: Here) -> bool:
        """Whether a font or a picture can be loaded."""
        del name
        names = [word for word in words if not word.startswith("-")]
        return bool(names) and self._has(names[-1], here.scope)

    def _load_env(self, name: str, words: list[str], here: Here) -> bool:
        """Take variables from a file (docs/grub.texi, "The GRUB environment block")."""
        del name
        names = [word for word in words if not word.startswith("-")]
        chosen = next((word.partition("=")[2] for word in words if word.startswith("--file=")), "")
        if not chosen and names and {"-f", "--file"} & set(words):
            chosen = names.pop(0)
        volume, path = self.locate(chosen or f"{here.scope.variables.get('prefix', '')}/grubenv", here.scope)
        text = volume.read(path) if volume is not None else None
        for line in (text or "").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#") and (not names or key in names):
                here.scope.variables[key] = value
        return text is not None

    def _search(self, name: str, words: list[str], here: Here) -> bool:
        options, names = grub_choice.options("search", [SEARCHES[name], *words] if name in SEARCHES else words)
        variable = options.get("set", [])
        wanted = names[0] if names else ""
        target = (variable[-1] or "root") if variable else (names[1] if len(names) > 1 else "")
        if not wanted and variable:
            wanted, target = variable[-1], "root"
        volumes = [self.volumes[known] for known in sorted(self.volumes)]
        found = next((volume for volume in volumes if _matches(volume, options, wanted)), None)
        if found is None:
            self.unsure.append(f"{here.spot} searches for {wanted!r}, which is nowhere on the medium")
        elif target:
            here.scope.variables[target] = found.name
        return found is not None

    def _file(self, name: str, words: list[str], here: Here) -> bool:
        path = words[0] if words else (f"{here.scope.variables.get('prefix', '')}/grub.cfg" if name == "normal" else "")
        volume, file = self.locate(path, here.scope)
        if volume is None or not volume.has(file):
            self.unsure.append(f"{here.spot} reads {path}, which is not on the medium")
            return False
        there = Spot(volume=volume.name, file=volume.actual(file), line=1)
        if name in SOURCING:
            return self.run_file(there, here.scope, here.depth - 1)
        # `normal` opens a menu, but no context
        opened = here.scope.copied() if name == "normal" else here.scope.opened()
        well = self.run_file(there, opened, here.depth - 1)
        if opened.entries:
            raise ShownError(there, opened)
        return well


def _matches(volume: Volume, options: Mapping[str, list[str]], wanted: str) -> bool:
    if "label" in options:
        return volume.label == wanted
    if "fs-uuid" in options:
        return volume.uuid.lower() == wanted.lower()
    return "file" in options and volume.has(wanted)


_Handler = Callable[[Machine, str, list[str], Here], bool]
COMMANDS: Mapping[str, _Handler] = {
    "set": Machine._set, "unset": Machine._unset, "export": Machine._export, "eval": Machine._eval, "load_env": Machine._load_env,
    "true": Machine._truth, "false": Machine._truth, "test": Machine._test, "[": Machine._test,
    "return": Machine._leave, "break": Machine._leave, "continue": Machine._leave,
    "setparams": Machine._parameters, "shift": Machine._parameters, "loadfont": Machine._there, "background_image": Machine._there,
    **dict.fromkeys(("menuentry", "submenu"), Machine._define), **dict.fromkeys(KERNELS, Machine._kernel), **dict.fromkeys(INITRDS, Machine._initrd),
    **dict.fromkeys(("search", *SEARCHES), Machine._search),
    **dict.fromkeys((*SHOWING, *SOURCING), Machine._file),
}  # fmt: skip
