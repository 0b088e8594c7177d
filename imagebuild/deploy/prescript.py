"""%pre sections run before the kickstart is read for good: what they write may be included by it.

They run in the tree's toolbox, never on the build host itself; `%include /path` then means a file they left there.
"""

import contextlib
import re
from collections.abc import Callable
from pathlib import PurePosixPath

from pykickstart.constants import KS_SCRIPT_PRE

from imagebuild.deploy.configure import run_script
from imagebuild.deploy.kickstart import BadKickstartError, includes, parse
from imagebuild.deploy.plan import Script
from imagebuild.deploy.target import Sandbox
from imagebuild.errors import BuildError

DEPTH = 8


def has_scripts(text: str) -> bool:
    """Whether a kickstart has a %pre section."""
    return any(re.match(r"%pre(\s|$)", line) for line in text.splitlines())


def without_includes(text: str) -> str:
    """Return a kickstart without the lines that include what a %pre will write, for a first check; line numbers stay."""
    lines = text.split("\n")
    for number, _ in includes(text) if has_scripts(text) else []:
        lines[number - 1] = ""
    return "\n".join(lines)


def expand(text: str, syntax: str, sandbox: Callable[[], contextlib.AbstractContextManager[Sandbox]], name: str) -> str:
    """Run the %pre sections and return the kickstart with what they wrote in place of each %include. Raises BadKickstartError (line)."""
    if not has_scripts(text):
        return text
    scripts = _scripts(text, syntax, name)
    with sandbox() as place:
        for script in scripts:
            run_script(script, place, None, "%pre")
        return _expanded(text, place, name, DEPTH)


def _expanded(text: str, place: Sandbox, name: str, depth: int) -> str:
    lines = text.split("\n")
    for number, path in includes(text):
        if depth == 0:
            raise BadKickstartError(f"{name}:{number}: %include {path}: the files include each other more than {DEPTH} deep")
        lines[number - 1] = _expanded(_included(place, path, f"{name}:{number}"), place, path, depth - 1)
    return "\n".join(lines)


def _included(place: Sandbox, path: str, where: str) -> str:
    try:
        return place.read(PurePosixPath(path)).decode()
    except (BuildError, UnicodeDecodeError) as error:
        raise BadKickstartError(f"{where}: %include {path}: no %pre section wrote that file") from error


def _scripts(text: str, syntax: str, name: str) -> list[Script]:
    handler = parse(without_includes(text), syntax, name, complete=False)
    return [
        Script(text=each.script, interpreter=each.interp, must_succeed=bool(each.errorOnFail), line=each.lineno, log=each.logfile or "")
        for each in handler.scripts
        if each.type == KS_SCRIPT_PRE
    ]
