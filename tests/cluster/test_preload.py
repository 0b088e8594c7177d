"""Workers that dask itself starts."""

import os
import subprocess
import sys
from pathlib import Path

from imagebuild.engine.steps import Cost, gather, step
from tests.cluster.lab import ROOT, lab, wait_until
from tests.cluster.steps import join, tell_process


def test_a_worker_of_dasks_own_command_runs_steps(tmp_path: Path) -> None:
    """As dask-jobqueue starts it (dask_jobqueue/core.py: `python -m distributed.cli.dask_worker …`)."""
    with lab(tmp_path) as made, (tmp_path / "own.log").open("wb") as log:
        made.start_head()
        keys = str(made.keys)
        argv = [
            str(made.address), "--nthreads", "2", "--memory-limit", "0", "--name", "own", "--no-nanny",
            "--tls-ca-file", f"{keys}/ca.pem", "--tls-cert", f"{keys}/worker.pem",
            "--tls-key", f"{keys}/worker.pem", "--preload", "imagebuild.cluster.preload", "--no-dashboard",
        ]  # fmt: skip
        made.processes["own"] = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", *argv],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "IMAGEBUILD_STORE": str(made.store)},
            stdout=log,
            stderr=log,
        )
        wait_until(lambda: "Registered to" in made.log("own"), 40)
        texts = [step(f"text {number}", tell_process, f"{number}") for number in range(4)]
        goal = step("all", join, gather(texts), "\n", cost=Cost(cores=2))
        outcome = made.build(goal)
        pid = made.processes["own"].pid
        assert outcome.value(goal).file.read_text() == "\n".join(f"{number} {pid}" for number in range(4))
