"""A worker that something else has started (dask-jobqueue, dask-kubernetes, SSHCluster, `dask worker`)
becomes one of imagebuild's: `--preload imagebuild.cluster.preload` (dask, "Customize initialization").

What `imagebuild worker` takes as options is in the environment: IMAGEBUILD_STORE (a directory),
IMAGEBUILD_STORE_REMOTE. Cores and memory are dask's own: `--nthreads`, `--memory-limit` (0: what is
available). One process for each machine, without a nanny, or with one and one worker below it.
"""

import os
import platform
from pathlib import Path
from typing import Any

from imagebuild.cluster.abilities import MIB, Abilities, measure
from imagebuild.cluster.choice import totals
from imagebuild.cluster.remote_step import PLUGIN, Bench
from imagebuild.cluster.steps_plugin import StepsPlugin
from imagebuild.engine.store import Store
from imagebuild.tools.load import available_memory
from imagebuild.wiring.stores import open_store

STORE, STORE_REMOTE = "IMAGEBUILD_STORE", "IMAGEBUILD_STORE_REMOTE"


async def dask_setup(worker: Any) -> None:
    """Called by dask before the worker joins (distributed/worker.py, start_unsafe)."""
    store = open_store(Path(os.environ.get(STORE, "build/store")), os.environ.get(STORE_REMOTE))
    name = str(worker.name) if worker.name != worker.address else platform.node()
    memory = worker.memory_manager.memory_limit or available_memory()
    await fit_out(worker, store, measure(name, worker.state.nthreads, memory // MIB, store))


async def fit_out(worker: Any, store: Store, told: Abilities) -> None:
    """Let a worker of dask run steps, and say what it can do."""

    async def tell(_: Any) -> dict[str, Any]:
        return told.as_json()

    worker.startup_information[PLUGIN] = tell
    worker.state.total_resources |= totals(told)
    worker.state.available_resources |= totals(told)
    await worker.plugin_add(StepsPlugin(Bench(store, told.accelerator)), name=PLUGIN)
