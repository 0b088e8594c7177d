"""One writer at a time for each OSTree repository, between threads and between processes, with a main context
of its own.

libostree's own lock is shared by all who write: it keeps them from `prune`, not from each other
(ostree-repo.c, ostree_repo_lock_push). Two who set the same remote, or write the configuration that each has
read earlier, undo each other's work.
"""

import contextlib
import fcntl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from imagebuild import steplog
from imagebuild.errors import BuildError
from imagebuild.tools.ostree.library import GLib

LOCK = ".imagebuild-writer"
POLL_SECONDS = 0.05


class _Held(threading.local):
    """The repositories that this thread writes to now."""

    def __init__(self) -> None:
        self.repositories: set[Path] = set()


_held = _Held()


@contextlib.contextmanager
def writing(repository: Path) -> Iterator[None]:
    """Be the only writer of a repository until the block ends (flock(2): it ends with its process, too); wait
    for another one.

    Whoever is it already just goes on. Raises BuildError when the directory cannot be written to.
    """
    real = repository.resolve()
    if real in _held.repositories:
        yield
        return
    with _opened(real) as stream:
        _wait(stream, real)
        _held.repositories.add(real)
        try:
            with own_main_context():
                yield
        finally:
            _held.repositories.discard(real)


def _opened(repository: Path) -> IO[str]:
    try:
        return (repository / LOCK).open("a")
    except OSError as error:
        raise BuildError(
            f"the OSTree repository {repository} cannot be written to: {error.strerror}",
            hint="check its owner and its file system",
        ) from error


def _wait(stream: IO[str], repository: Path) -> None:
    said = False
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                steplog.note(f"waiting: another step, or another program, is writing to {repository}")
                said = True
            time.sleep(POLL_SECONDS)
        else:
            return


@contextlib.contextmanager
def own_main_context() -> Iterator[None]:
    """Have what libostree calls back in this thread called in no other one.

    A pull iterates the thread's default main context, which is the whole process's unless the thread has
    pushed another (documentation of ostree_repo_pull): of two at once each runs what belongs to the other,
    and the process dies.
    """
    context = GLib.MainContext.new()
    context.push_thread_default()
    try:
        yield
    finally:
        context.pop_thread_default()
