"""A kickstart is parsed by pykickstart, and what the executor cannot do is refused with its line.

The options are those of the kickstart documentation of pykickstart; `commands` says what becomes of each.
"""

import shlex
from collections.abc import Sequence

from pykickstart.version import versionMap

from imagebuild.config import syntaxes
from imagebuild.kickstart import commands, containers, encryption
from imagebuild.kickstart.problems import BadKickstartError, Problems
from imagebuild.kickstart.reading import Reading
from imagebuild.kickstart.statements import Statements, statements_of

__all__ = [
    "BadKickstartError",
    "check_medium",
    "checks",
    "executable",
    "includes",
    "parse",
    "read",
    "script_includes",
    "without_mark",
]

BYTE_ORDER_MARK = "\ufeff"


def without_mark(text: str) -> str:
    """Return a text without the byte order mark that editors of Windows put in front."""
    return text.removeprefix(BYTE_ORDER_MARK)


def includes(text: str) -> list[tuple[int, str]]:
    """Return (line number, path or URL) of every %include outside of sections."""
    return [(number, path) for number, path, section in _includes(text) if not section]


def script_includes(text: str) -> list[tuple[int, str, str]]:
    """Return (line number, path or URL, section such as %post) of every %include in a section: pykickstart
    takes those, too.
    """
    return [include for include in _includes(text) if include[2]]


def _includes(text: str) -> list[tuple[int, str, str]]:
    found, section = list[tuple[int, str, str]](), ""
    for number, line in enumerate(without_mark(text).split("\n"), start=1):
        try:
            words = shlex.split(line, comments=True) if line.lstrip().startswith("%") else []
        except ValueError:
            words = []
        if words[:1] == ["%include"]:
            found.append((number, words[1] if len(words) > 1 else "", section))
        elif words and (not section or words[0] == "%end"):
            section = "" if words[0] == "%end" else words[0]
    return found


def read(text: str, syntax: str, name: str, *, complete: bool = True) -> Reading:
    """Read a kickstart to its end and return what it says and all that is wrong with it. Raises
    BadKickstartError: no such version.

    `complete`: an %include or %ksappend that is left is an error. pykickstart itself would read the build
    host's files, or fetch a URL.
    """
    if syntax not in versionMap:
        raise BadKickstartError(
            f"{name}: {syntaxes.problem(syntax)}", hint=f"it knows: {', '.join(sorted(versionMap))}"
        )
    return Reading(without_mark(text), syntax, name, complete=complete)


def parse(text: str, syntax: str, name: str, *, complete: bool = True) -> Reading:
    """Parse a kickstart. Raises BadKickstartError: everything that is wrong.

    Warnings are errors; `complete` as in `read`.
    """
    reading = read(text, syntax, name, complete=complete)
    reading.problems.refuse()
    return reading


def executable(text: str, syntax: str, name: str, *, encrypted: bool = False) -> Statements:
    """Do as `parse`, refuse what is not executed at the same time, and return what is said.

    Raises BadKickstartError: everything that is wrong, but sizes.
    """
    reading = read(text, syntax, name)
    problems = Problems(name)
    problems.extend(reading.problems)
    problems.extend(commands.refused(reading, encrypted=encrypted))
    problems.refuse()
    return statements_of(reading)


def checks(reading: Reading, text: str, known_refs: Sequence[str], *, signed: bool, name: str) -> None:
    """Check what is installed: one ref, of those the repo has. Raises BadKickstartError with the line.

    What is parsed counts, not what looks like it. Where `text` has an %include left, a %pre may still write
    it.
    """
    problems = Problems(name)
    setup, lines = reading.handler.ostreesetup, reading.lines_of("ostreesetup")
    containers.refuse(reading, problems)
    if not lines and not includes(text) and not problems:
        problems.add(0, "there must be one ostreesetup line, not 0: nothing to install")
    problems.extend(commands.refused_source(reading))
    wrong = bool(problems) or bool(set(lines) & reading.problems.lines())
    if lines and not wrong and setup.ref not in known_refs:
        problems.add(
            lines[-1], f"ostreesetup: the repo has no ref {setup.ref}", f"it has: {', '.join(known_refs)}"
        )
    if lines and setup.nogpg and signed:
        problems.add(
            lines[-1],
            "ostreesetup: --nogpg although the commit is signed",
            "take --nogpg out, so that the installer checks the signature too",
        )
    problems.refuse()


def check_medium(text: str, syntax: str, name: str, *, unattended: bool) -> None:
    """Check the encryption of a kickstart that an installation medium carries. Raises BadKickstartError."""
    problems = Problems(name)
    encryption.refuse_on_medium(
        read(text, syntax, name, complete=False).handler, problems, unattended=unattended
    )
    problems.refuse()
