"""A program while it runs: started in a session for itself, followed, told to end; and the end of all.

Every program is killed when the pipeline dies, however it dies: `end_all` on Ctrl-C, the kernel's
parent-death signal on `kill -9`.
"""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.tools import environment
from imagebuild.tools.programs import require, search_path

GRACE_SECONDS = 3.0
# the death signal is set now: if the pipeline was killed just before that, its child has another parent
# already
GUARD = 'test "$PPID" = "$1" || exit 137; shift; exec "$@"'

_background: ContextVar[tuple[str, ...]] = ContextVar("imagebuild_background", default=())
_group: ContextVar["Group | None"] = ContextVar("imagebuild_group", default=None)
_running: set["Process"] = set()
_cancel: set[tuple[Callable[[], None], "Group | None"]] = set()
_guard = threading.Lock()
_ended = threading.Event()


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    # what a program is told is in the key of who runs it: its language is ours, and of the time it is told by
    # the step, or not at all (mksquashfs refuses to be told twice)
    return {
        **environment.kept(),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": search_path(),
        **(extra or {}),
    }


def describe(argv: Sequence[str | Path]) -> str:
    """Return argv as one readable line (not for a shell to run)."""
    return " ".join(
        repr(str(word)) if re.search(r"[\s'\"]", str(word)) or not str(word) else str(word) for word in argv
    )


def _guarded(argv: Sequence[str]) -> list[str]:
    """Return argv as it is started: with the priority of now, and killed when this process dies."""
    dies_with_us = [str(require("setpriv")), "--pdeathsig", "KILL", "--", "/bin/sh", "-c", GUARD, "sh"]
    return [*_background.get(), *dies_with_us, str(os.getpid()), *argv]


def _redirected(stdin: IO[bytes] | bytes | None) -> IO[bytes] | int:
    if isinstance(stdin, bytes):
        return subprocess.PIPE
    return stdin if stdin is not None else subprocess.DEVNULL


class Process:
    """A running program. Its output goes to the step's log as it comes; `stdout` is kept unless it went
    elsewhere.

    One with `patience` (seconds) cleans up by itself: when it is to end, it alone hears of it, by one SIGINT,
    has that long, and what it left running is killed. Of others the whole group hears, by SIGTERM.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        stdin: IO[bytes] | bytes | None = None,
        stdout: IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        quiet: bool = False,
        shown: Sequence[str | Path] | None = None,
        patience: float = 0.0,
    ) -> None:
        self.patience, self.group = patience, _group.get()
        self.argv = [str(word) for word in argv]
        self.shown = [str(word) for word in shown] if shown is not None else self.argv
        self._log = None if quiet else steplog.current()
        self._said: list[bytes] = []
        self._kept: list[bytes] = []
        program = str(require(self.argv[0])) if "/" not in self.argv[0] else self.argv[0]
        if not quiet:
            steplog.note(f"$ {describe(self.shown)}")
        # under the guard: `end_all` sees every program that was started, or none is started any more
        with _guard:
            if ended_all():
                raise BuildError("interrupted")
            self._popen = subprocess.Popen(
                _guarded([program, *self.argv[1:]]),
                stdin=_redirected(stdin),
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=subprocess.PIPE,
                env=_environment(env),
                cwd=cwd,
                start_new_session=True,
            )
            _running.add(self)
        self._threads = [self._started(self._follow, self._popen.stderr, self._said)]
        if stdout is None:
            self._threads.append(self._started(self._follow, self._popen.stdout, self._kept))
        if isinstance(stdin, bytes):
            self._threads.append(self._started(self._feed, stdin))

    def _started(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    @property
    def name(self) -> str:
        """The program's name, without where it lies."""
        return Path(self.shown[0]).name

    @property
    def pid(self) -> int:
        """The process id of the program itself."""
        return self._popen.pid

    @property
    def returncode(self) -> int:
        """The exit status, negative when a signal ended it; 0 while it runs."""
        return self._popen.returncode or 0

    @property
    def alive(self) -> bool:
        """Whether the program still runs."""
        return self._popen.poll() is None

    def _follow(self, stream: IO[bytes], kept: list[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 65536):
            kept.append(chunk)
            if self._log is not None:
                with contextlib.suppress(OSError), self._log.open("ab") as log:
                    log.write(chunk)
        stream.close()

    def _feed(self, data: bytes) -> None:
        stream = self._popen.stdin
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):
            stream.write(data)
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status. Raises TimeoutError; the program then still runs."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.argv[0]} did not end within {timeout} s") from error
        for thread in self._threads:
            thread.join(timeout=5)
        with _guard:
            _running.discard(self)
        return self._popen.returncode

    def output(self) -> str:
        """Return what the program wrote to standard output so far."""
        return b"".join(self._kept).decode("utf-8", "replace")

    def complaint(self) -> str:
        """Return what the program wrote to standard error so far."""
        return b"".join(self._said).decode("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def ask_to_end(self) -> None:
        """Tell the program that it is to end, in the way that it can bear."""
        if not self.patience:
            self.signal(signal.SIGTERM)
        elif self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._popen.pid, signal.SIGINT)

    def end(self, grace: float = GRACE_SECONDS) -> None:
        """Ask the program to end; kill its whole process group after `grace` seconds, or when its patience is
        over.
        """
        self.ask_to_end()
        try:
            self.wait(max(grace, self.patience))
            if self.patience:
                self.signal(signal.SIGKILL)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            self.wait()


def run_plainly(argv: Sequence[str | Path], *, timeout: float | None = None) -> tuple[int, str]:
    """Run a short program, neither logged nor ended by `end_all`; return its exit status and all it printed.
    One that takes longer than `timeout` seconds is killed. Raises OSError.
    """
    try:
        finished = subprocess.run(
            [require(str(argv[0])), *argv[1:]],
            capture_output=True,
            check=False,
            env=_environment(None),
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, ""
    return finished.returncode, (finished.stdout + finished.stderr).decode("utf-8", "replace")


def running() -> list[str]:
    """Return the names of the programs that run now, as `imagebuild` was asked for them."""
    # without the guard: a signal handler asks, and the thread that it interrupted may hold it
    return [process.name for process in list(_running) if process.alive]


def patience() -> float:
    """Return the seconds that an interrupt waits at most for the programs that run now."""
    return max([GRACE_SECONDS, *(process.patience for process in list(_running) if process.alive)])


@contextlib.contextmanager
def in_background() -> Iterator[None]:
    """Run every program that is started in the block at the lowest priority: it takes what others leave."""
    token = _background.set(("nice", "-n", "19"))
    try:
        yield
    finally:
        _background.reset(token)


@contextlib.contextmanager
def cancelling(action: Callable[[], None]) -> Iterator[None]:
    """Have `action` called too when everything must end: for work that is not a program of ours. The end of
    the block is waited for.
    """
    cancelled = (action, _group.get())
    with _guard:
        _cancel.add(cancelled)
    try:
        yield
    finally:
        with _guard:
            _cancel.discard(cancelled)


def ended_all() -> bool:
    """Whether everything was told to end, or all of the group that this belongs to."""
    group = _group.get()
    return _ended.is_set() or (group is not None and group.ended.is_set())


class Group:
    """The programs of one piece of work beside others: a step's, on a worker of a cluster. They are those
    that are started in its `entered` block.
    """

    def __init__(self) -> None:
        self.ended = threading.Event()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let every program that is started in the block belong to the group."""
        token = _group.set(self)
        try:
            yield
        finally:
            _group.reset(token)

    def programs(self) -> list["Process"]:
        """Return those that run now."""
        return [process for process in list(_running) if process.group is self and process.alive]

    def end(self, grace: float = GRACE_SECONDS) -> None:
        """End every program of the group as `end_all` ends all, and refuse new ones."""
        self.ended.set()
        with _guard:
            running = [process for process in _running if process.group is self]
            actions = [cancelled for cancelled in _cancel if cancelled[1] is self]
        _end(running, actions, grace)


def end_all(grace: float = GRACE_SECONDS) -> None:
    """End every program that runs, and refuse new ones: all are asked at once, each is killed after `grace`
    seconds or its own patience.
    """
    _ended.set()
    with _guard:
        running, actions = list(_running), list(_cancel)
    _end(running, actions, grace)


def _end(
    running: list[Process], actions: list[tuple[Callable[[], None], Group | None]], grace: float
) -> None:
    for process in running:
        process.ask_to_end()
    for action, _ in actions:
        with contextlib.suppress(Exception):
            action()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < max(
        [grace, *(process.patience for process in running if process.alive)]
    ):
        # what is not a program of ours has temporary files, too, and removes them when it is cancelled
        cancelled = _cancel.intersection(actions)
        if not any(process.alive for process in running) and not (cancelled and passed < grace):
            break
        for process in running:
            if passed >= max(grace, process.patience):
                process.signal(signal.SIGKILL)
        time.sleep(0.05)
    for process in running:
        process.signal(signal.SIGKILL)
