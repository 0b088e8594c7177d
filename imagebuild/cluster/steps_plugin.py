"""What dask tells a worker of what becomes of steps (distributed/diagnostics/plugin.py, 2026.8).

This module needs dask: whoever imports it has set it up (`settings`).
"""

from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

from imagebuild.cluster.remote_step import PLUGIN, Bench


class StepsPlugin(WorkerPlugin):
    """Ends the programs of steps that nobody wants any more."""

    name = PLUGIN

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def teardown(self, worker: Any) -> None:
        """The worker ends, whatever runs."""
        del worker
        self.bench.end_all()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """A step that runs is no longer wanted: whoever asked for it has cancelled it, or is gone. dask lets
        it run to its end (worker_state_machine.py, _transition_executing_released).
        """
        if start in ("executing", "long-running") and finish == "released":
            self.bench.end(str(key))
