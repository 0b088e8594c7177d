"""What some work took: CPU seconds, seconds, space; and steps that are worked off without a word."""

import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from imagebuild.cli.progress import View
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step


def cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(name: str, work: Callable[[], object]) -> tuple[float, float]:
    """Run something and return (CPU seconds, seconds)."""
    subprocess.run(["sync"], check=True)
    before, begun = cpu(), time.monotonic()
    work()
    used, wall = cpu() - before, time.monotonic() - begun
    print(f"  {name}: {used:.1f} CPU s, {wall:.1f} s", flush=True)
    return used, wall


class Space:
    """The most bytes that lay below a directory while the block ran."""

    def __init__(self, place: Path) -> None:
        self.place, self.peak, self._end = place, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(1.0):
            said = subprocess.run(
                ["du", "-s", "--block-size=1", self.place], capture_output=True, text=True, check=False
            ).stdout
            self.peak = max(self.peak, int(said.split()[0]) if said else 0)

    def __enter__(self) -> "Space":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def build_quietly(goals: Sequence[Step[Any]], store: Path) -> graph.Outcome:
    """Build these steps into a store of their own; a step that fails is an error."""
    with ThreadPoolExecutor(4) as executor, Path(os.devnull).open("w") as nowhere:
        outcome = graph.build(
            goals,
            DirectoryStore(store),
            executor,
            budget=Cost(cores=2, memory=16 << 30),
            listener=View(Console(file=nowhere)),
        )
    assert not outcome.failed, [error.message for error in outcome.failed.values()]
    return outcome
