"""The log of the step that is running: tools write to it, the progress view shows its last line.

Which file that is belongs to the thread a step runs in, so that parallel steps never mix their lines.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

# what a line begins with that says what a step does now: progress shows it, on a terminal or not
STAGE = "==> "
_current: ContextVar[Path | None] = ContextVar("imagebuild_steplog", default=None)


@contextlib.contextmanager
def writing_to(file: Path) -> Iterator[None]:
    """Send every `note` of this thread to `file` (appended, created at once) until the block ends."""
    file.touch()
    token = _current.set(file)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Path | None:
    """Return the file this thread's notes go to, or None outside any step."""
    return _current.get()


def note(text: str) -> None:
    """Append one or more lines to the running step's log; outside a step they are dropped."""
    write((text if text.endswith("\n") else text + "\n").encode("utf-8", "backslashreplace"))


def write(data: bytes) -> None:
    """Append raw output of a program to the running step's log."""
    file = _current.get()
    if file is not None and data:
        with file.open("ab") as stream:
            stream.write(data)
