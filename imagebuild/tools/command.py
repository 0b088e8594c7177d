"""The only door to programs: argv lists, a UTF-8 C locale, output streamed to the step's log.

`programs` says where they are, `process` starts and ends them; here they are run to their end, and errors say
how they died. What others need of those two is handed on, so that callers know one module.
"""

import functools
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from imagebuild import files, steplog
from imagebuild.errors import BuildError
from imagebuild.tools.process import (
    GRACE_SECONDS,
    Group,
    Process,
    cancelling,
    describe,
    end_all,
    ended_all,
    in_background,
    patience,
    run_plainly,
    running,
)
from imagebuild.tools.programs import PACKAGES, find, require, search_path

__all__ = [
    "GRACE_SECONDS",
    "PACKAGES",
    "CommandError",
    "Group",
    "Process",
    "cancelling",
    "describe",
    "describe_end",
    "end_all",
    "find",
    "in_background",
    "patience",
    "pipe",
    "require",
    "run",
    "run_last",
    "running",
    "search_path",
    "status",
    "version",
]

# how programs are asked for their version that do not know --version
SAYS_VERSION = {"busybox": "--help", "mksquashfs": "-version", "openssl": "version", "ssh": "-V"}
# for an unmount when everything ends
LAST_SECONDS = 10.0
TAIL_LINES = 15


class CommandError(BuildError):
    """A program ended badly; `output` is everything it printed, `returncode` negative when a signal ended
    it.
    """

    def __init__(
        self, message: str, *, returncode: int, output: str, hint: str = "", log: Path | None = None
    ) -> None:
        super().__init__(message, hint=hint, log=log)
        self.returncode = returncode
        self.output = output


@functools.cache
def version(program: str) -> str:
    """Return the first version number that a program prints when it is asked (it belongs into keys); of one
    that does not say, the beginning of its file's SHA-256.
    """
    _, printed = run_plainly([program, SAYS_VERSION.get(program, "--version")])
    match = re.search(r"\d+(?:\.\d+)+[\w.+~-]*", printed)
    return match.group() if match else f"sha256 {files.sha256(require(program))[:12]}"


def run(
    argv: Sequence[str | Path],
    *,
    stdin: IO[bytes] | bytes | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    accept: Sequence[int] = (0,),
    quiet: bool = False,
    shown: Sequence[str | Path] | None = None,
) -> str:
    """Run a program to its end and return its standard output.

    `accept` lists the exit statuses that are fine; `shown` stands for argv in the log and in errors (without
    wrappers, say). Raises MissingToolError, or CommandError with the argv, how it died and the last lines it
    printed.
    """
    process = Process(argv, stdin=stdin, stdout=stdout, env=env, cwd=cwd, quiet=quiet, shown=shown)
    try:
        status = process.wait(timeout)
    except TimeoutError:
        process.end()
        raise _failed(process, f"did not end within {timeout:.0f} s") from None
    except BaseException:
        process.end()
        raise
    if status not in accept:
        raise _failed(process, describe_end(status))
    return process.output()


def pipe(first: Sequence[str | Path], second: Sequence[str | Path], *, stdout: IO[bytes]) -> None:
    """Run `first | second`. Raises CommandError when either fails."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb") as sink:
        writer = Process(first, stdout=sink)
        sink.close()
        try:
            reader = Process(second, stdin=source, stdout=stdout)
        except BaseException:
            writer.end()
            raise
        source.close()
        try:
            read = reader.wait()
            wrote = writer.wait()
        finally:
            reader.end()
            writer.end()
    # when the reader fails the writer dies of it
    for process, code in ((reader, read), (writer, wrote)):
        if code:
            raise _failed(process, describe_end(code))


def status(
    argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """Run a program that may fail; return its exit status and standard output followed by standard error."""
    process = Process(argv, env=env, cwd=cwd)
    code = process.wait()
    return code, process.output() + process.complaint()


def run_last(argv: Sequence[str | Path]) -> int:
    """Run a short program of the clean-up, also after `end_all`, and return its exit status; one that hangs
    is killed. Raises OSError.
    """
    return run_plainly(argv, timeout=LAST_SECONDS)[0]


def describe_end(status: int) -> str:
    """Return how a program ended badly, for a sentence about it."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"failed with exit status {status}"


def _failed(process: Process, how: str) -> CommandError:
    if ended_all():
        how = "was ended by the interrupt"
    text = process.complaint() or process.output()
    tail = "\n".join("    " + line for line in text.strip().splitlines()[-TAIL_LINES:])
    message = f"{describe(process.shown[:12])}{' …' if len(process.shown) > 12 else ''} {how}" + (
        f":\n{tail}" if tail else ""
    )
    return CommandError(message, returncode=process.returncode, output=text, log=steplog.current())
