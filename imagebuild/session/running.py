"""A graph is run on this machine: how many steps at a time, and what they may take together."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imagebuild.engine import graph
from imagebuild.engine.graph import Listener, Outcome
from imagebuild.engine.steps import Cost, Step
from imagebuild.engine.store import Store


def run_graph(
    goals: Sequence[Step[Any]],
    store: Store,
    listener: Listener,
    *,
    jobs: int | None = None,
    interrupted: Callable[[], None] = lambda: None,
) -> Outcome:
    """Build what is missing for the goals, at most `jobs` steps at a time (None: as many as there are cores).

    On KeyboardInterrupt `interrupted` is called to end the programs that run; threads are not waited for.
    """
    count = jobs or max(2, os.cpu_count() or 2)
    budget = Cost(cores=max(2, os.cpu_count() or 2), memory=_available_memory())
    # beside the steps as many for what is compressed in the background, unless one at a time is wanted
    executor = ThreadPoolExecutor(max_workers=1 if count == 1 else 2 * count)
    try:
        return graph.build(goals, store, executor, budget=budget, listener=listener, one_at_a_time=count == 1)
    except KeyboardInterrupt:
        # not waited for: a thread may be inside a library that cannot be interrupted
        interrupted()
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _available_memory() -> int:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024
