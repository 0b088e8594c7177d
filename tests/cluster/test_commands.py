"""The commands of a cluster, as a person gives them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuild.cluster.connection import connected
from imagebuild.cluster.security import identity
from imagebuild.cluster.status import places_of, status_of
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.steps import Cost, Unkeyed, step
from tests.cluster.lab import ROOT, Lab, free_port, wait_until
from tests.cluster.steps import talk, write
from tests.engine.building import Recorder

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def start(log: Path, *argv: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "imagebuild", *argv], stdout=stream, stderr=stream, env=ENVIRONMENT
        )


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "imagebuild", *argv],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )


def test_a_cluster_from_nothing(tmp_path: Path) -> None:
    """Keys, a head, a worker that measures this machine; then both are told to end."""
    keys, address = tmp_path / "keys", f"tls://127.0.0.1:{free_port()}"
    made = run("cluster-keys", str(keys))
    assert made.returncode == 0, made.stderr
    assert "full trust" in made.stdout
    options = ["--keys", str(keys)]
    head = start(tmp_path / "head", "head", "--listen", address, "--dashboard", "0", *options)
    worker = start(
        tmp_path / "worker", "worker", address, "--store", str(tmp_path / "store"), "--name", "me", *options,
        "--listen", "127.0.0.1", "--cores", "3", "--memory", "2000",
    )  # fmt: skip
    try:
        wait_until(lambda: "me works for" in (tmp_path / "worker").read_text(), 180)
        shown = run("status", "--cluster", address, *options, "--json")
        assert shown.returncode == 0, shown.stderr
        (told,) = json.loads(shown.stdout)["workers"]
        assert (told["name"], told["cores"], told["memory"]) == ("me", 3, 2000)
        assert "root" in told["can"] or os.geteuid() != 0
        assert len(told["fingerprint"]) == 12
        assert "populate-appliance" in told["can"]
        table = run("status", "--cluster", address, *options).stdout
        assert "0 of 3" in table
    finally:
        begun = time.monotonic()
        for process in (worker, head):
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(20) for process in (worker, head)]
    assert codes == [0, 0]
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["worker", "tcp://192.0.2.1:1"], "tcp:// is for this machine alone"),
        (["worker", "tls://127.0.0.1:1"], "needs certificates"),
        (["head", "--listen", "tcp://0.0.0.0:8786"], "tcp:// is for this machine alone"),
        (["status", "--cluster", "tcp://127.0.0.1:1"], "no head can be reached at tcp://127.0.0.1:1"),
    ],
)
def test_what_is_asked_wrongly_is_said(argv: list[str], sentence: str, tmp_path: Path) -> None:
    if argv[0] == "worker":
        argv = [*argv, "--store", str(tmp_path)]
    ended = run(*argv)
    assert ended.returncode in (1, 2)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_status_says_what_runs_where_and_what_waits(cluster: Lab, tmp_path: Path) -> None:
    flag, store = tmp_path / "flag", DirectoryStore(cluster.store)
    goals = [
        step(f"talk {number}", talk, f"{tmp_path} {number}", Unkeyed(flag), cost=Cost(cores=4))
        for number in range(3)
    ]

    class Ends(Recorder):
        """Lets steps go on when the head has heard of them."""

        def started(self, one: object, log: Path, *, busy: bool) -> None:
            self.events.append("started")
            if len(self.events) == 2:
                with connected(cluster.address, identity(cluster.address, cluster.keys, "client")) as link:
                    wait_until(lambda: _heard(link))
                    self.status = status_of(link)
                flag.touch()

    recorder = Ends()
    with cluster.client(store) as dispatcher:
        assert not graph.build(goals, store, dispatcher, listener=recorder).failed
    status = recorder.status
    (client,) = [client for client in status.clients if client.waiting or client.running]
    assert client.pid == os.getpid()
    assert len(client.waiting) + len(client.running) == 3
    busy = [worker for worker in status.workers if worker.steps]
    assert busy
    assert all(worker.used == 4 for worker in busy)
    assert all(key.startswith("steps.talk-") for worker in busy for key, _ in worker.steps)
    with connected(cluster.address, identity(cluster.address, cluster.keys, "client")) as link:
        assert any(worker.load > 0 for worker in status_of(link).workers)


def _heard(link: object) -> bool:
    from imagebuild.cluster.connection import Connection

    assert isinstance(link, Connection)
    return any(client.waiting for client in link.state().clients)


def test_a_plan_says_where_steps_would_run(cluster: Lab) -> None:
    steps = [
        step("any", write, "x"),
        step("none", write, "x", cost=Cost(needs=("arch-s390x",))),
        step("pull", write, "x", cost=Cost(needs=(ORIGIN,))),
    ]
    with connected(cluster.address, identity(cluster.address, cluster.keys, "client")) as link:
        assert places_of(link, steps, DirectoryStore(cluster.store)) == {
            "any": "one, two",
            "none": "nowhere: no worker has arch-s390x",
            "pull": "this machine",
        }
