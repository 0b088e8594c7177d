"""One reader, many cases: each gives a value or one of the documented errors, within 5 s of processor time,
500 MiB, its own directory, and this machine.

The cases of a reader are tried in a child process of their own, forked from this one: what it may have in
memory is limited by the kernel (RLIMIT_AS, above what it has already), a case that spins by a timer of its
processor time, one that waits by the clock; what it opens for writing, and whom it connects to, is heard by
an audit hook (sys.addaudithook).
"""

import contextlib
import functools
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from imagebuild.errors import BuildError
from imagebuild.tools import temporary

MEMORY = 500 << 20
# a case may need so many seconds of the processor; a busy machine may let it wait, but not for ever
SECONDS, WALL = 5.0, 120.0
# `make fuzz` asks for 10,000
CASES = int(os.environ.get("IMAGEBUILD_FUZZ_CASES", "0"))
PRODUCT = f"{os.sep}imagebuild{os.sep}"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.truncate",
)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of the product: `read` is given a case and a directory of its own. `errors` are documented
    besides BuildError; `cases` how many CI tries.
    """

    name: str
    read: Callable[[bytes, Path], object]
    contents: st.SearchStrategy[bytes]
    errors: tuple[type[BaseException], ...] = ()
    cases: int = 60


class HangError(BaseException):
    """A case took longer than it may."""


class EscapeError(BaseException):
    """A case reached for what is not its own."""


@functools.cache
def _warm() -> None:
    """Let hypothesis collect the numbers in our sources once (its constants_ast.py), not in every child."""
    settings(max_examples=20, database=None, deadline=None)(given(st.integers())(lambda _: None))()


def problems(reader: Reader, place: Path) -> list[str]:
    """Try a reader's cases; return what went wrong, a text for each kind."""
    _warm()
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=_tried, args=(reader, place, sender))
    child.start()
    sender.close()
    try:
        found: list[str] = receiver.recv()
    except EOFError:
        child.join()
        found = [f"{reader.name}: its process died with {child.exitcode}"]
    child.join()
    return found


def _tried(reader: Reader, place: Path, sender: Any) -> None:
    guard, own = _Guard(place), place / "temporary"
    own.mkdir()
    # whatever the product makes for a while lies here, too
    os.environ[temporary.PLACES] = json.dumps([str(own), str(own)])
    sys.addaudithook(guard.hear)
    signal.signal(signal.SIGPROF, _too_long)
    signal.signal(signal.SIGALRM, _too_long)
    soft = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (soft, resource.getrlimit(resource.RLIMIT_AS)[1]))
    found: dict[str, str] = {}
    directory = place / "case"

    @settings(
        max_examples=CASES or reader.cases, derandomize=not CASES, database=None, deadline=None,
        phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(reader.contents)
    def each(data: bytes) -> None:
        with _own(directory):
            wrong = _fault(reader, data, directory, guard)
        if wrong is not None:
            found.setdefault(wrong[0], f"{reader.name}: {wrong[1]}\non {data[:300]!r} ({len(data)} bytes)")

    each()
    sender.send(list(found.values()))
    sender.close()


@contextlib.contextmanager
def _own(directory: Path) -> Iterator[None]:
    directory.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(directory)


def _fault(reader: Reader, data: bytes, work: Path, guard: "_Guard") -> tuple[str, str] | None:
    """Return what a case did wrong: a word for the kind, and a text."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), guard.on():
            reader.read(data, work)
    except BuildError as error:
        return _unspeakable(error)
    except reader.errors:
        return None
    except BaseException as error:
        return _kind(error), "".join(traceback.format_exception(error)[-6:])[-3000:]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _unspeakable(error: BuildError) -> tuple[str, str] | None:
    """An error is printed, and written into logs: it must be text."""
    try:
        f"{error.message}{error.hint}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return f"text {_kind(error)}", f"its message cannot be printed: {error.message[:200]!a}"
    return None


def _kind(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if PRODUCT in frame.filename]
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "elsewhere"
    return f"{type(error).__name__} at {where}"


def _too_long(number: int, _frame: object) -> None:
    raise HangError(f"more than {SECONDS if number == signal.SIGPROF else WALL} s")


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class _Guard:
    """Hears what is opened, changed and connected to while a case is tried."""

    def __init__(self, place: Path) -> None:
        self._own = (str(place), "/dev/null", "/dev/tty", "/dev/shm")
        self._listening = False

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    def hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self._listening:
            return
        if event in ("socket.connect", "socket.getaddrinfo", "os.system", "socket.sendto"):
            raise EscapeError(f"{event} {given[1:]!r}"[:300])
        if event == "open" and isinstance(given[2], int) and given[2] & WRITES:
            self._check(event, given[0])
        elif event in CHANGES and isinstance(given[-1], int) and given[-1] >= 0 and event != "os.truncate":
            self._check(event, Path(f"/proc/self/fd/{given[-1]}").readlink())
        elif event in CHANGES:
            self._check(event, given[0])

    def _check(self, event: str, path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            name = os.path.normpath(Path.cwd() / os.fsdecode(path))
            if not name.startswith(self._own) and not name.startswith("/proc/self/"):
                raise EscapeError(f"{event} {name}"[:300])
