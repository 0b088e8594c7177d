"""A pull that is watched: its progress is told once a second, and one that stalls is cancelled."""

import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from imagebuild.tools.ostree.library import OSTree
from imagebuild.tools.ostree.server import Patience

WATCH_SECONDS = 1.0


@dataclass
class _Watch:
    """What a pull has said of itself, and the clock that is watched beside it."""

    patience: Patience
    progress: Callable[[str], None]
    transferred: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        self.stalled, self.done = threading.Event(), threading.Event()

    def changed(self, reported: Any) -> None:
        """Take in what libostree reports, in the thread that pulls."""
        self.transferred = reported.get_uint64("bytes-transferred")
        metadata = reported.get_uint("metadata-fetched")
        self.text = (
            f"{reported.get_uint('fetched')}/{reported.get_uint('requested')} objects ({metadata} metadata),"
            f" {self.transferred / 1e6:.1f} MB"
        )

    def watch(self, cancellable: Any, *, remote: bool) -> None:
        """Tell the progress once a second until the pull is done, or cancel one that is too slow."""
        before, told, since = 0, "", time.monotonic()
        while not self.done.wait(WATCH_SECONDS):
            if self.text != told:
                told = self.text
                self.progress(told)
            now = time.monotonic()
            if self.transferred - before >= self.patience.low_speed_bytes * (now - since):
                before, since = self.transferred, now
            elif remote and now - since > self.patience.low_speed_seconds:
                self.stalled.set()
                cancellable.cancel()
                return


@contextlib.contextmanager
def following(
    cancellable: Any, patience: Patience, progress: Callable[[str], None], *, remote: bool
) -> Iterator[tuple[Any, threading.Event]]:
    """Report a pull's progress once a second and cancel it when a network transfer stalls.

    The pull reports through its own main context, in the thread that pulls; a second thread watches the
    clock.
    """
    watch = _Watch(patience, progress)
    reported = OSTree.AsyncProgress.new()
    reported.connect("changed", watch.changed)
    watching = functools.partial(watch.watch, cancellable, remote=remote)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(watching,), daemon=True)
    thread.start()
    try:
        yield reported, watch.stalled
    finally:
        watch.done.set()
        thread.join()
        reported.finish()
