"""A cluster on loopback: head and workers as processes, TLS on, and a client in the test's own process."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild.cluster.connection import Connection
from imagebuild.cluster.dispatcher import ClusterDispatcher
from imagebuild.cluster.keys import make_keys
from imagebuild.cluster.security import Address, identity
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import HereDispatcher
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Cost, Step
from imagebuild.engine.store import Store
from tests.cluster.remote import open_store
from tests.engine.building import Recorder

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@dataclass
class Lab:
    """Where a test's cluster lies, and what runs of it."""

    place: Path
    port: int = field(default_factory=free_port)
    tls: bool = True
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)

    @property
    def address(self) -> Address:
        return Address(scheme="tls" if self.tls else "tcp", host="127.0.0.1", port=self.port)

    @property
    def keys(self) -> Path | None:
        if not self.tls:
            return None
        place = self.place / "keys"
        if not place.exists():
            make_keys(place)
        return place

    @property
    def store(self) -> Path:
        return self.place / "store"

    def log(self, name: str) -> str:
        return (self.place / f"{name}.log").read_text()

    def _start(self, name: str, what: str, order: dict[str, Any]) -> "subprocess.Popen[bytes]":
        order |= {"address": str(self.address), "keys": str(self.keys) if self.keys else ""}
        with (self.place / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.run", what, json.dumps(order)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "IMAGEBUILD_GUEST_SLOTS": str(self.place)},
                stdout=log,
                stderr=log,
            )
        self.processes[name] = process
        self.starts[name] += 1
        return process

    def start_head(self, *, dashboard: int | None = None) -> None:
        self._start("head", "head", {"dashboard": dashboard})
        wait_until(lambda: self.log("head").count("head at") == self.starts["head"])

    def start_worker(
        self,
        name: str,
        *,
        cores: int = 4,
        memory: int = 4096,
        can: tuple[str, ...] = (),
        tools: dict[str, list[str]] | None = None,
        store: Path | None = None,
        full: bool = False,
        remote: str = "",
        wait: bool = True,
        **other: object,
    ) -> None:
        order = {"name": name, "cores": cores, "memory": memory, "can": can, "tools": tools or {}}
        order |= {"store": str(store or self.store), "full": full, "other": other, "remote": remote}
        self._start(name, "worker", order)
        if wait:
            self.wait_for(name)

    def wait_for(self, name: str) -> None:
        """Wait until a worker has joined, this time."""
        wait_until(lambda: self.log(name).count(" works for ") == self.starts[name])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(20)

    @contextlib.contextmanager
    def client(self, store: Store | None = None) -> Iterator[ClusterDispatcher]:
        store = store or DirectoryStore(self.store)
        logs = self.place / "logs"
        logs.mkdir(exist_ok=True)
        connection = Connection(self.address, identity(self.address, self.keys, "client"))
        with ThreadPoolExecutor(4) as executor:
            here = HereDispatcher(store, executor, Cost(cores=2))
            dispatcher = ClusterDispatcher(connection, store, here, logs=logs, say=self.said.append)
            try:
                yield dispatcher
            finally:
                dispatcher.interrupt(patience=10)
                dispatcher.close()
                connection.close()

    def build(
        self, *goals: Step[Any], remote: Path | None = None, recorder: Recorder | None = None
    ) -> Outcome:
        used = open_store(self.store, remote)
        with self.client(used) as dispatcher:
            return graph.build(list(goals), used, dispatcher, listener=recorder or Recorder())

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait(20)


@contextlib.contextmanager
def lab(place: Path, *, tls: bool = True) -> Iterator[Lab]:
    place.mkdir(exist_ok=True)
    made = Lab(place, tls=tls)
    try:
        yield made
    finally:
        made.stop()
