"""A graph is run, on this machine or on the workers of a cluster: how many steps at a time, and what they may
take together.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from imagebuild.engine import graph
from imagebuild.engine.dispatch import HereDispatcher
from imagebuild.engine.graph import Listener, Outcome
from imagebuild.engine.steps import Cost, Step
from imagebuild.engine.store import Store
from imagebuild.session.clusters import ClusterOrder, dispatching
from imagebuild.tools.load import available_memory


def run_graph(
    goals: Sequence[Step[Any]],
    store: Store,
    listener: Listener,
    *,
    jobs: int | None = None,
    interrupted: Callable[[], None] = lambda: None,
    cluster: ClusterOrder | None = None,
) -> Outcome:
    """Build what is missing for the goals, at most `jobs` steps at a time here (None: as many as there are
    cores), and on the workers of a cluster if there is one as many as they have room for.

    On KeyboardInterrupt `interrupted` is called to end the programs that run here, and then what runs on
    workers is ended; threads are not waited for. Raises BuildError for a cluster that cannot do it.
    """
    count = jobs or max(2, os.cpu_count() or 2)
    budget = Cost(cores=max(2, os.cpu_count() or 2), memory=available_memory())
    # beside the steps as many for what is compressed in the background, unless one at a time is wanted
    executor = ThreadPoolExecutor(max_workers=1 if count == 1 else 2 * count)
    try:
        if cluster is None:
            return graph.build(
                goals, store, executor, budget=budget, listener=listener, one_at_a_time=count == 1
            )
        here = HereDispatcher(store, executor, budget, one_at_a_time=count == 1)
        with dispatching(cluster, here, store, interrupted) as dispatcher:
            return graph.build(goals, store, dispatcher, listener=listener)
    except KeyboardInterrupt:
        # not waited for: a thread may be inside a library that cannot be interrupted
        interrupted()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
