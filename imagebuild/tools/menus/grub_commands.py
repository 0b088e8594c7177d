"""GRUB's commands, as far as a menu needs them: settings, conditions, files, volumes, and the entries that
are defined.

What they do follows rhboot's GRUB 2.06 (commands/{menuentry,search_wrap,test,configfile,loadenv}.c,
script/execute.c). What only a machine knows (its time, its memory, a held key) is taken for untrue, and said
in `unsure`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from imagebuild.errors import BuildError
from imagebuild.tools.menus import grub_choice, grub_script, grub_test
from imagebuild.tools.menus.grub_machine import (
    Defined,
    GrubMachine,
    Here,
    Loaded,
    LoopEndError,
    MenuContext,
    ReturnError,
    ShownError,
)
from imagebuild.tools.menus.menu import BootVolume, MenuEntry, Spot

KERNELS = ("linux", "linux16", "linuxefi", "linux32")
INITRDS = ("initrd", "initrd16", "initrdefi")
DEFINING = re.compile(r"(menuentry|submenu)\b")
# they ask what only the machine knows, and are untrue on most
ASKING = frozenset(
    {
        "keystatus",
        "cpuid",
        "probe",
        "smbios",
        "regexp",
        "sleep",
        "read",
        "getenv",
        "rdmsr",
        "hashsum",
        "cmp",
        "nativedisk",
    }
)
SEARCHES = {"search.fs_label": "--label", "search.fs_uuid": "--fs-uuid", "search.file": "--file"}
SHOWING = ("configfile", "normal", "extract_entries_configfile")
SOURCING = ("source", ".", "extract_entries_source")


class Grub(GrubMachine):
    """GRUB with its commands."""

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
        entry = MenuEntry(
            title=names[0],
            label=label,
            key=grub_choice.key(options),
            submenu=name == "submenu",
            spot=here.spot,
        )
        here.scope.entries.append(
            Defined(
                entry=entry, names=tuple(names), body=body, statement=here.statement, siblings=here.siblings
            )
        )
        return True

    def _kernel(self, name: str, words: list[str], here: Here) -> bool:
        if here.statement is not None:
            here.scope.kernels.append(
                Loaded(spot=here.spot, statement=here.statement, name=name, words=tuple(words))
            )
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

    def _has(self, path: str, scope: MenuContext) -> bool:
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
        options, names = grub_choice.options(
            "search", [SEARCHES[name], *words] if name in SEARCHES else words
        )
        variable = options.get("set", [])
        wanted = names[0] if names else ""
        target = (variable[-1] or "root") if variable else (names[1] if len(names) > 1 else "")
        if not wanted and variable:
            wanted, target = variable[-1], "root"
        volumes = [self.volumes[known] for known in sorted(self.volumes)]
        volume = next((volume for volume in volumes if _matches(volume, options, wanted)), None)
        if volume is None:
            self.unsure.append(f"{here.spot} searches for {wanted!r}, which is nowhere on the medium")
        elif target:
            here.scope.variables[target] = volume.name
        return volume is not None

    def _file(self, name: str, words: list[str], here: Here) -> bool:
        path = (
            words[0]
            if words
            else (f"{here.scope.variables.get('prefix', '')}/grub.cfg" if name == "normal" else "")
        )
        volume, file = self.locate(path, here.scope)
        # a file's name that begins with no slash is a list of blocks for GRUB (kern/file.c, `grub_file_open`)
        named = path.rpartition(")")[2].startswith("/")
        if volume is None or not named or not volume.has(file):
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


def _matches(volume: BootVolume, options: Mapping[str, list[str]], wanted: str) -> bool:
    if "label" in options:
        return volume.label == wanted
    if "fs-uuid" in options:
        return volume.uuid.lower() == wanted.lower()
    return "file" in options and volume.has(wanted)


_Handler = Callable[[Grub, str, list[str], Here], bool]
COMMANDS: Mapping[str, _Handler] = {
    "set": Grub._set,
    "unset": Grub._unset,
    "export": Grub._export,
    "eval": Grub._eval,
    "load_env": Grub._load_env,
    "true": Grub._truth,
    "false": Grub._truth,
    "test": Grub._test,
    "[": Grub._test,
    "return": Grub._leave,
    "break": Grub._leave,
    "continue": Grub._leave,
    "setparams": Grub._parameters,
    "shift": Grub._parameters,
    "loadfont": Grub._there,
    "background_image": Grub._there,
    **dict.fromkeys(("menuentry", "submenu"), Grub._define),
    **dict.fromkeys(KERNELS, Grub._kernel),
    **dict.fromkeys(INITRDS, Grub._initrd),
    **dict.fromkeys(("search", *SEARCHES), Grub._search),
    **dict.fromkeys((*SHOWING, *SOURCING), Grub._file),
}
