"""%pre sections run before the kickstart is read for good: what they write may be included by it.

They run in the tree's toolbox, never on the build host itself; `%include /path` then means a file they left
there (on an installer ISO: one of the medium's, too). pykickstart takes an %include inside of other sections
as well, %post among them.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagebuild.deploy.configure import run_script
from imagebuild.deploy.target import Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.problems import Origin, Problems, located
from imagebuild.kickstart.scripts import Script, pre_scripts
from imagebuild.kickstart.source import BadKickstartError, includes, read, script_includes, without_mark

DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """A kickstart without %include, and the (file, line) that each of its lines comes from."""

    text: str
    origin: tuple[tuple[str, int], ...] = ()


def has_scripts(text: str) -> bool:
    """Whether a kickstart has a %pre section."""
    return any(re.match(r"\s*%pre(\s|$)", line) for line in without_mark(text).splitlines())


def without_includes(text: str) -> str:
    """Return a kickstart without the lines that include what a %pre will write, for a first check; line
    numbers stay.
    """
    lines = without_mark(text).split("\n")
    for number, _ in includes(text) if has_scripts(text) else []:
        lines[number - 1] = ""
    for number, _, section in script_includes(text) if has_scripts(text) else []:
        lines[number - 1] = "" if section != "%pre" else lines[number - 1]
    return "\n".join(lines)


def expand(
    text: str,
    syntax: str,
    sandbox: Callable[[], contextlib.AbstractContextManager[Sandbox]],
    name: str,
    origin: Origin = (),
) -> str:
    """Run the %pre sections and return the kickstart with what they wrote in place of each %include. Raises
    BadKickstartError (line).
    """
    return expand_located(text, syntax, sandbox, name, origin).text


def expand_located(
    text: str,
    syntax: str,
    sandbox: Callable[[], contextlib.AbstractContextManager[Sandbox]],
    name: str,
    origin: Origin = (),
) -> Expanded:
    """Do as `expand`, and tell where each line comes from; `origin` is that of `text`."""
    text = without_mark(text)
    if not has_scripts(text) and not includes(text) and not script_includes(text):
        return Expanded(text=text, origin=tuple(origin))
    with located(name, origin):
        scripts = _scripts(text, syntax, name)
        with sandbox() as place:
            for script in scripts:
                run_script(script, place, None, "%pre")
            problems = Problems(name)
            lines = _expanded(text, place, name, DEPTH, problems)
            problems.refuse()
    places = tuple(origin) if origin else tuple((name, number) for number in range(1, len(lines) + 1))
    return Expanded(
        text="\n".join(line for _, _, line in lines),
        origin=tuple(
            places[number - 1] if file == name and number <= len(places) else (file, number)
            for file, number, _ in lines
        ),
    )


def _expanded(
    text: str, place: Sandbox, name: str, depth: int, problems: Problems
) -> list[tuple[str, int, str]]:
    """Return the lines with their file and number."""
    wanted = dict(includes(text)) | {number: path for number, path, _ in script_includes(text)}
    lines: list[tuple[str, int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if number not in wanted:
            lines.append((name, number, line))
            continue
        if depth == 0:
            raise BadKickstartError(
                f"{name}:{number}: %include {wanted[number]}: the files include each other more than {DEPTH}"
                " deep"
            )
        with problems.gathering():
            found = _included(place, wanted[number], f"{name}:{number}")
            if has_scripts(found):
                raise BadKickstartError(
                    f"{name}:{number}: %include {wanted[number]}: a %pre section in a file that is included"
                    " is never run",
                    hint="put it into the kickstart itself",
                )
            lines += _expanded(found, place, wanted[number], depth - 1, problems)
    return lines


def _included(place: Sandbox, path: str, where: str) -> str:
    try:
        return without_mark(place.read(PurePosixPath(path)).decode())
    except (BuildError, UnicodeDecodeError) as error:
        reason = (
            "nothing is fetched for a kickstart that is executed here"
            if "://" in path
            else "no %pre section wrote that file"
        )
        raise BadKickstartError(
            f"{where}: %include {path}: {reason}",
            hint="write the file in a %pre section, under that very name",
        ) from error


def _scripts(text: str, syntax: str, name: str) -> list[Script]:
    """Return the %pre sections. Raises BadKickstartError: everything that is wrong with the kickstart, before
    anything is run.
    """
    reading = read(without_includes(text), syntax, name, complete=has_scripts(text))
    reading.problems.refuse()
    return pre_scripts(reading)
