"""A kickstart, read to its end: what pykickstart makes of each command, with its line, and everything that is
wrong with it.

Lines and sections are told apart as pykickstart's own KickstartParser does it (pykickstart 3.78, parser.py,
`_stateMachine` and `_readSection`), but each command is handed over alone: an error in it is remembered, and
the next one is read.
"""

import contextlib
import difflib
import platform
import re
import shlex
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pykickstart.base import RemovedCommand
from pykickstart.errors import KickstartDeprecationWarning, KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import F8

from imagebuild.config import syntaxes
from imagebuild.kickstart import repeated, unexpanded
from imagebuild.kickstart.encryption import secrets_of, without_passphrases
from imagebuild.kickstart.problems import Problems

# warnings are the whole process's, and steps run in threads
_process = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as it was written: its words without quotes and comment, and its line."""

    words: tuple[str, ...]
    line: int

    @property
    def name(self) -> str:
        """The command's name as it was written: `part` and `partition` are two."""
        return self.words[0]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section: its header's words and line, and the lines of its body (comments and empty ones left out,
    without line ends).
    """

    words: tuple[str, ...]
    line: int
    body: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it begins with, such as %post."""
        return self.words[0]


class Reading:
    """A kickstart that was read: pykickstart's `handler`, what was written where, `problems`, and `notes` on
    what has no effect.

    `set_at`: the line that set an attribute of a command, by (id of the command, attribute).
    """

    def __init__(self, text: str, syntax: str, name: str, *, complete: bool) -> None:
        self.name, self.syntax, self.complete = name, syntax, complete
        self.handler = syntaxes.handler(syntax)
        self.problems = Problems(name)
        self.commands: list[Command] = []
        self.sections: list[Section] = []
        self.notes: list[tuple[int, str]] = []
        self.set_at: dict[tuple[int, str], int] = {}
        # %include is ours: pykickstart would read the build host's files, or fetch a URL
        self._parser = KickstartParser(self.handler, followIncludes=False)
        self._open: Section | None = None
        self._body: Any = None
        with _process, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._caught = caught
            self._read(text)

    def lines_of(self, command: str) -> list[int]:
        """Return the lines of a command."""
        return [written.line for written in self.commands if written.name == command]

    def _read(self, text: str) -> None:
        for number, line in enumerate(text.splitlines(keepends=True), start=1):
            if line.lstrip().startswith("%ksappend") and self.complete:
                # everywhere, in scripts too: pykickstart replaces it before it reads anything else
                # (parser.py, _preprocessStateMachine)
                self.problems.add(
                    number,
                    f"{line.strip()}: nothing is fetched and appended to a kickstart that is executed here",
                    "put what it appends into the kickstart, or into a file of kickstarts/ that is %included",
                )
            elif self._open is not None:
                self._section_line(number, line)
            else:
                self._command_line(number, line)
        if self._open is not None:
            self._end(unterminated=self.handler.version >= F8)

    # --- sections ---

    def _section_line(self, number: int, line: str) -> None:
        word = next(iter(line.split()), "")
        if word == "%end":
            self._end()
        elif word == "%include":
            self._include(number, line.split())
        elif self._known_section(word):
            self._end(unterminated=self.handler.version >= F8)
            self._command_line(number, line)
        else:
            blank = not line.strip() or line.lstrip().startswith("#")
            if self._open is not None and not blank:
                self._open.body.append(line.rstrip("\r\n"))
            if self._body is not None and (self._body.allLines or not blank):
                with self._errors_of(number, self._open.words if self._open is not None else [word]):
                    self._body.handleLine(line)

    def _begin(self, number: int, words: Sequence[str]) -> None:
        if words[0] == "%end":
            self.problems.add(
                number,
                "%end: there is no section that it ends",
                "a section ends with the first %end, in a here-document too",
            )
            return
        self._open = Section(words=tuple(words), line=number)
        self.sections.append(self._open)
        self._body = None
        if not self._known_section(words[0]):
            self.problems.add(number, f"Unknown kickstart section: {words[0]}")
            return
        body = self._parser.getSection(words[0])
        with self._errors_of(number, words):
            body.handleHeader(number, list(words))
            self._body = body

    def _end(self, *, unterminated: bool = False) -> None:
        section, body = self._open, self._body
        self._open = self._body = None
        if section is None:
            return
        if unterminated:
            self.problems.add(section.line, f"Section {section.name} does not end with %end.")
        if body is not None:
            with self._errors_of(section.line, section.words):
                body.finalize()

    def _known_section(self, word: str) -> bool:
        try:
            return bool(self._parser.getSection(word))
        except KeyError:
            return False

    # --- commands ---

    def _command_line(self, number: int, line: str) -> None:
        directive = unexpanded.directive(line)
        if directive:
            self.problems.add(
                number, f"`{directive}` is a directive of a template, and a comment here", FILL_IN
            )
        if not line.strip() or line.lstrip().startswith("#"):
            return
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            self.problems.add(number, f"{without_passphrases(line.strip())}: quotes do not match ({error})")
            return
        self.problems.hide(*secrets_of(words))
        if line.rstrip("\r\n").endswith("\\") and "#" not in line:
            self.commands.append(Command(words=tuple(words), line=number))
            self.problems.add(
                number,
                f"{words[0]}: a command ends with its line: `\\` does not go on in the next one",
                ONE_LINE,
            )
            return
        placeholder = unexpanded.placeholder(words) if words else ""
        if placeholder:
            self.commands.append(Command(words=tuple(words), line=number))
            self.problems.add(number, f"{words[0]}: `{placeholder}` was not filled in", FILL_IN)
        elif words and words[0] == "%include":
            self._include(number, words)
        elif words and words[0] == "%ksappend":
            pass  # Anaconda's business where the kickstart is not executed here
        elif words and words[0].startswith("%"):
            self._begin(number, words)
        elif words:
            self._dispatch(number, line, words)

    def _include(self, number: int, words: Sequence[str]) -> None:
        path = words[1] if len(words) > 1 else ""
        if self.complete or not path:
            self.problems.add(
                number, f"%include {path}: there is no such file for a kickstart that is executed here",
                "include files of kickstarts/ by their relative name, or write the file in a %pre section",
            )  # fmt: skip

    def _dispatch(self, number: int, line: str, words: list[str]) -> None:
        command = self.handler.commands.get(words[0])
        if command is None and words[0].startswith("--"):
            self.problems.add(
                number,
                f"{words[0].partition('=')[0]}: an option without its command, which ended with its line",
                ONE_LINE,
            )
            return
        if command is None:
            self.problems.add(number, self._unknown(words[0]), self._meant(words[0]))
            return
        self.commands.append(Command(words=tuple(words), line=number))
        for option, winner in repeated.lost(command, words) if self.complete else ():
            self.problems.add(
                number,
                f"{words[0]}: {winner} overwrites the {option} before it",
                "say it once: several names are one value (a,b)",
            )
        before = dict(vars(command))
        with self._errors_of(number, words):
            self.handler.currentLine = line
            result = self.handler.dispatcher(self._substituted(words), number)
            if getattr(result, "lineno", None) == 0:
                result.lineno = number  # users, groups and keys do not know theirs
        self._remember_settings(number, command, before)

    def _substituted(self, words: list[str]) -> list[str]:
        """Return a command's words with the one variable that Anaconda itself replaces (27 and newer;
        librpmostree, varsubst_basearch).
        """
        ours = words[0] == "ostreesetup" and self.complete
        return [word.replace("${basearch}", platform.machine()) for word in words] if ours else words

    def _remember_settings(self, number: int, command: Any, before: dict[str, Any]) -> None:
        """Remember which line set what, and note where it overwrites what an earlier line said (of a command
        that counts once).
        """
        settings = repeated.settings(command) if command.dataList() is None else set()
        for option, value in vars(command).items():
            if option in before and before[option] == value:
                continue
            earlier = self.set_at.get((id(command), option))
            if earlier and before.get(option) and option in settings:
                self.notes.append(
                    (
                        number,
                        (
                            f"{command.currentCmd}: what line {earlier} says of `{option}` does not count any"
                            " more"
                        ),
                    )
                )
            self.set_at[id(command), option] = number

    @contextlib.contextmanager
    def _errors_of(self, number: int, words: Sequence[str]) -> Iterator[None]:
        """Remember what pykickstart says of a line."""
        seen = len(self._caught)
        try:
            yield
        except KickstartError as error:
            self.problems.add(number, self._explained(words, str(getattr(error, "message", "") or error)))
        except Exception as error:  # whatever a hostile line does to a library
            self.problems.add(
                number, f"{words[0]}: pykickstart cannot read this line ({type(error).__name__}: {error})"
            )
        for warning in self._caught[seen:]:
            text = " ".join(str(warning.message).split())
            # a second key of an account is executed like the first, and several may be mounted nowhere
            harmless = (
                issubclass(warning.category, KickstartDeprecationWarning)
                or words[0] == "sshkey"
                or list(words[:2]) == ["btrfs", "none"]
            )
            if harmless or "deprecated" in text.lower():
                self.notes.append((number, text))
            else:
                self.problems.add(number, text)

    # --- words ---

    def _unknown(self, command: str) -> str:
        versions = syntaxes.shown(syntaxes.having(command))
        known = f"it is a command of {versions}" if versions else "no version of pykickstart has it"
        return f"Unknown command `{command}` in --syntax {self.syntax}: {known}"

    def _meant(self, command: str) -> str:
        if syntaxes.having(command):
            return ""
        close = difflib.get_close_matches(command, self.handler.commands, n=1)
        return f"is `{close[0]}` meant?" if close else ""

    def _explained(self, words: Sequence[str], message: str) -> str:
        """Return what pykickstart says, with the versions that know what this one does not."""
        text = f"{words[0]}: {' '.join(message.split())}"
        if isinstance(self.handler.commands.get(words[0]), RemovedCommand):
            versions = syntaxes.shown(syntaxes.having(words[0]))
            return f"`{words[0]}` was taken out before --syntax {self.syntax}: it is a command of {versions}"
        # argparse's words, and those of commands that take a word besides (pykickstart, commands/rootpw.py)
        unknown = re.search(r"(unrecognized|Unexpected) arguments(.*)", message, re.DOTALL)
        if unknown:
            for option in dict.fromkeys(re.findall(r"--[A-Za-z0-9-]+", unknown.group(2))):
                versions = syntaxes.shown(syntaxes.having(words[0], option))
                text += (
                    f"; {option} is none of --syntax {self.syntax}, but of {versions}"
                    if versions
                    else f"; no version has {option}"
                )
        return text


ONE_LINE = "write it in one line"
FILL_IN = "fill the template in first (Cobbler, Foreman, Ansible …), or write the value itself"
