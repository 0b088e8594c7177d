"""GRUB's scripts, run: variables, conditions, loops, files; the commands are in `grub_commands`.

What is run follows rhboot's GRUB 2.06 (normal/main.c, script/execute.c, kern/env.c).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from imagebuild.errors import BuildError
from imagebuild.tools.menus import grub_script
from imagebuild.tools.menus.grub_script import For, Function, GrubCommand, If, Statement, While
from imagebuild.tools.menus.grub_words import Kind, Word
from imagebuild.tools.menus.menu import DEPTH, BootVolume, MenuEntry, Spot

# what a hostile menu could go on with for ever: statements run, characters of one value or one line's words
MOST_STEPS = 20_000
LONGEST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A command that loaded a kernel: where it is, as it is written, and its words as they were."""

    spot: Spot
    statement: GrubCommand
    name: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Defined:
    """An entry as it is written: `siblings` are the statements that its own stands among."""

    entry: MenuEntry
    names: tuple[str, ...]
    body: tuple[Statement, ...]
    statement: GrubCommand
    siblings: tuple[Statement, ...]


@dataclass(eq=False)
class MenuContext:
    """A menu context: variables, entries, and what was loaded."""

    variables: dict[str, str]
    exported: set[str]
    entries: list[Defined] = field(default_factory=list)
    kernels: list[Loaded] = field(default_factory=list)
    initrds: tuple[str, ...] = ()

    def opened(self) -> "MenuContext":
        """Return a context in this one: only what is exported is known there."""
        kept = {name: value for name, value in self.variables.items() if name in self.exported}
        return MenuContext(variables=kept, exported=set(self.exported))

    def copied(self) -> "MenuContext":
        """Return the same context without its entries."""
        return MenuContext(variables=dict(self.variables), exported=set(self.exported))


@dataclass(frozen=True, kw_only=True)
class Here:
    """Where a statement is run: the context, the line, how much deeper it may go, the command and the
    statements that it stands among.
    """

    scope: MenuContext
    spot: Spot
    depth: int
    siblings: tuple[Statement, ...] = ()
    statement: GrubCommand | None = None


class ReturnError(Exception):
    """A function's end."""


class LoopEndError(Exception):
    """A loop's end (`again`: that of one round)."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.again = again


class ShownError(Exception):
    """A file that was given to `configfile` has entries: its menu is shown, and what follows is run by
    nobody.
    """

    def __init__(self, spot: Spot, scope: MenuContext) -> None:
        super().__init__()
        self.spot = spot
        self.scope = scope


class GrubMachine:
    """GRUB with its volumes; `files` are those that it has read, `unsure` sentences' rests about what cannot
    be known.
    """

    def __init__(self, volumes: Sequence[BootVolume]) -> None:
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

    def locate(self, path: str, scope: MenuContext) -> tuple[BootVolume | None, str]:
        """Return the volume and the path on it that a name of GRUB's means: `(device)/path`, or one on
        `root`.
        """
        device = scope.variables.get("root", "")
        if path.startswith("(") and ")" in path:
            device, _, path = path[1:].partition(")")
        parts: list[str] = []
        for part in path.split("/"):
            parts = parts[:-1] if part == ".." else [*parts, part] if part not in ("", ".") else parts
        return self.volumes.get(device), "/" + "/".join(parts)

    def run_file(self, spot: Spot, scope: MenuContext, depth: int) -> bool:
        """Run a file in a context; return whether there is one. Raises ShownError for a menu that it leads
        to, BuildError.
        """
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
                return self._loop(
                    statement.body,
                    here,
                    ((statement.name, value) for value in self.expand(statement.words, here.scope)),
                )
            case While():
                return self._loop(statement.body, here, self._rounds(statement, here))
            case Function():
                self._functions[statement.name] = (statement, here.spot)
                return True
            case GrubCommand():
                return self._command(
                    replace(here, spot=replace(here.spot, line=statement.line), statement=statement),
                    statement.words,
                )

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

    def expand(self, words: Sequence[Word], scope: MenuContext) -> list[str]:
        """Return the words that words become."""
        texts: list[str] = []
        for word in words:
            texts += self._expanded(word, scope)
        return texts

    def _expanded(self, word: Word, scope: MenuContext) -> list[str]:
        """Return the words that one becomes: a variable without quotes is split at its blanks, and is nothing
        when it is empty.
        """
        words: list[str] | None = None
        room = LONGEST
        for kind, text in word.pieces:
            value = text if kind in (Kind.TEXT, Kind.QUOTED) else self._value(text, scope)
            parts = value.split() if kind is Kind.VARIABLE else [value]
            room -= len(value)
            if room < 0:
                raise BuildError(f"a word of GRUB's menu is longer than {LONGEST} characters")
            if parts:
                words = [*(words or [])[:-1], (words or [""])[-1] + parts[0], *parts[1:]]
        return words or []

    def _value(self, name: str, scope: MenuContext) -> str:
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
        """Run a command: those that are known here are of a class below."""
        raise NotImplementedError
