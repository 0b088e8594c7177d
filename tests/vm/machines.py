"""A cluster as release engineers start it: a head and workers by the command line, over TLS, each with a
store, a cache and temporary files of its own. What they share is a bucket.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.cluster.connection import connected
from imagebuild.cluster.security import identity, parse_address
from imagebuild.cluster.status import ClusterStatus, status_of
from imagebuild.engine.store import remove
from tests.cluster.lab import free_port
from tests.data import ROOT

REAL, SIMULATED = ("-m", "imagebuild"), ("-m", "tests.vm.simulated")
WORKERS = ("one", "two", "three")
JOIN_SECONDS, PAUSE = 180.0, 0.2


@dataclass
class Machines:
    """Where the machines' directories lie, and which processes run."""

    place: Path
    remote: str
    program: Sequence[str] = REAL
    port: int = field(default_factory=free_port)
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The head's."""
        return f"tls://127.0.0.1:{self.port}"

    @property
    def keys(self) -> Path:
        """Certificates of this cluster."""
        return self.place / "keys"

    @property
    def options(self) -> list[str]:
        """What a client says to build here."""
        return ["--cluster", self.address, "--keys", str(self.keys), "--store-remote", self.remote]

    def start(self, name: str, *argv: str | Path) -> "subprocess.Popen[bytes]":
        """Start imagebuild on a machine of that name."""
        own = self.place / name
        for part in ("cache", "tmp", "home"):
            (own / part).mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(own / "cache"),
            "HOME": str(own / "home"),
            "TMPDIR": str(own / "tmp"),
            "COLUMNS": "200",
        }
        with (own / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self.program, *map(str, argv)],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def log(self, name: str) -> str:
        """Return what a machine's imagebuild has said."""
        return (self.place / name / "log").read_text(errors="replace")

    def start_head(self) -> None:
        """Start the head; workers that are there join it."""
        before = ((self.place / "head" / "log").exists() and self.log("head").count("head at")) or 0
        self.start("head", "head", "--listen", self.address, "--keys", self.keys, "--dashboard", "0")
        self.wait(lambda: self.log("head").count("head at") > before, JOIN_SECONDS)

    def start_workers(self, *names: str) -> None:
        """Start workers; they join in their own time."""
        for name in names:
            self.start(
                name, "worker", self.address, "--keys", self.keys, "--name", name, "--listen", "127.0.0.1",
                "--store", self.place / name / "store", "--store-remote", self.remote,
                "--cores", "2", "--memory", "6144",
            )  # fmt: skip

    def wait_for_workers(self) -> None:
        """Wait until all have joined."""
        self.wait(lambda: {worker.name for worker in self.status().workers} == set(WORKERS), JOIN_SECONDS)

    def status(self) -> ClusterStatus:
        """Return what runs where."""
        address = parse_address(self.address)
        with connected(address, identity(address, self.keys, "client")) as link:
            return status_of(link)

    def wait(self, true: Callable[[], bool], seconds: float) -> None:
        """Wait for something; a machine that has ended by itself is the reason why it does not come."""
        until = time.monotonic() + seconds
        while not true():
            ended = [name for name, one in self.processes.items() if one.poll() is not None]
            assert not ended, f"{ended[0]} has ended:\n{self.log(ended[0])[-4000:]}"
            assert time.monotonic() < until, "\n".join(
                f"{name}: {self.log(name)[-2000:]}" for name in self.processes
            )
            time.sleep(PAUSE)

    def worker_with(self, kind: str, seconds: float, *, after: float = 0.0) -> str:
        """Return the name of the worker that runs a step of that kind, when it has run for `after` s."""
        found: list[str] = []

        def runs() -> bool:
            found.extend(
                worker.name
                for worker in self.status().workers
                for key, ran in worker.steps
                if key.startswith(kind) and ran > after
            )
            return bool(found)

        self.wait(runs, seconds)
        return found[0]

    def kill(self, name: str) -> None:
        """Switch a machine off: its process is gone at once."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def end(self) -> None:
        """End everything."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait(20)
        self.processes.clear()


@contextlib.contextmanager
def machines(place: Path, remote: str, program: Sequence[str]) -> Iterator[Machines]:
    """Have a head and three workers for the length of a block."""
    place.mkdir()
    made = Machines(place, remote, program)
    subprocess.run(
        [sys.executable, "-m", "imagebuild", "cluster-keys", made.keys], check=True, capture_output=True
    )
    try:
        made.start_head()
        made.start_workers(*WORKERS)
        made.wait_for_workers()
        yield made
    finally:
        made.end()
        for name in WORKERS:
            remove(place / name / "store")


def events(file: Path) -> list[dict[str, object]]:
    """Return the events of a build, as far as they are written."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
