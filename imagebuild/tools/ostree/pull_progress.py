"""A pull that is watched: its progress is told once a second, and one that stalls is cancelled."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from imagebuild.tools.ostree.library import OSTree
from imagebuild.tools.ostree.server import Patience

WATCH_SECONDS = 1.0


@contextlib.contextmanager
def following(
    cancellable: Any, patience: Patience, progress: Callable[[str], None], *, remote: bool
) -> Iterator[tuple[Any, threading.Event]]:
    """Report a pull's progress once a second and cancel it when a network transfer stalls.

    The pull reports through its own main context, in the thread that pulls; a second thread watches the
    clock.
    """
    stalled, done = threading.Event(), threading.Event()
    seen = _Seen()

    def changed(watched: Any) -> None:
        seen.transferred = watched.get_uint64("bytes-transferred")
        metadata = watched.get_uint("metadata-fetched")
        seen.text = (
            f"{watched.get_uint('fetched')}/{watched.get_uint('requested')} objects ({metadata} metadata),"
            f" {seen.transferred / 1e6:.1f} MB"
        )

    def watch() -> None:
        before, told, since = 0, "", time.monotonic()
        while not done.wait(WATCH_SECONDS):
            if seen.text != told:
                told = seen.text
                progress(told)
            now = time.monotonic()
            if seen.transferred - before >= patience.low_speed_bytes * (now - since):
                before, since = seen.transferred, now
            elif remote and now - since > patience.low_speed_seconds:
                stalled.set()
                cancellable.cancel()
                return

    watched = OSTree.AsyncProgress.new()
    watched.connect("changed", changed)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield watched, stalled
    finally:
        done.set()
        thread.join()
        watched.finish()


@dataclass
class _Seen:
    transferred: int = 0
    text: str = ""
