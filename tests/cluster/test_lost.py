"""Workers, heads and clients die, or are interrupted, while a step runs a program that never ends by
itself.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.cluster import attempts, connection, dispatcher
from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step, Unkeyed, gather, step
from imagebuild.errors import BuildError
from tests.cluster.lab import ROOT, Lab, lab, wait_until
from tests.cluster.steps import Text, fill, hold, hold_once, join, write
from tests.engine.building import Recorder

CLIENT = """
import sys
from pathlib import Path
from tests.cluster.lab import Lab
from tests.cluster.steps import hold
from imagebuild.engine.steps import Unkeyed, step
place, port, text, marks = sys.argv[1:]
Lab(Path(place), port=int(port)).build(step("held", hold, text, Unkeyed(Path(marks))))
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A cluster that may be broken: a head, and workers that each test asks for."""
    with lab(tmp_path_factory.mktemp("pair")) as made:
        made.start_head()
        yield made


def have(pair: Lab, *names: str) -> None:
    for name in names:
        if name not in pair.processes:
            pair.start_worker(name)


def alive(pid: int) -> bool:
    try:
        # a zombie of a killed worker has no argv any more
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def program(marks: Path, number: int = 0) -> int:
    """Return the process id of the program that a step runs, as soon as it does."""
    found: list[int] = []

    def runs() -> bool:
        for file in marks.glob(f"*-program-{number}"):
            with contextlib.suppress(ValueError):
                found.append(int(file.read_text()))
        return bool(found)

    wait_until(runs)
    return found[0]


def worker_of(pair: Lab, marks: Path) -> str:
    """Return the worker in whose process a step runs."""
    pid = int(next(file for file in marks.iterdir() if "program" not in file.name).read_text())
    return next(name for name, process in pair.processes.items() if process.pid == pid)


class Built(threading.Thread):
    """A build beside the test."""

    def __init__(self, pair: Lab, *goals: Step[Text]) -> None:
        super().__init__(daemon=True)
        self.pair, self.goals, self.outcome = pair, goals, graph.Outcome()
        self.error: BuildError | None = None
        self.recorder = Recorder()
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self.pair.build(*self.goals, recorder=self.recorder)
        except BuildError as error:
            self.error = error

    def end(self, seconds: float = 60) -> graph.Outcome:
        self.join(seconds)
        assert not self.is_alive()
        return self.outcome


def test_a_step_of_a_killed_worker_is_made_by_another(pair: Lab, marks: Path) -> None:
    have(pair, "one", "two")
    goal = step("held", hold_once, f"{marks.parent.name}", Unkeyed(marks))
    built = Built(pair, goal)
    pid = program(marks)
    first = worker_of(pair, marks)
    pair.kill(first)
    outcome = built.end()
    assert not outcome.failed
    other = next(name for name in ("one", "two") if name != first)
    assert outcome.value(goal).file.read_text().endswith(f" {pair.processes[other].pid}")
    wait_until(lambda: not alive(pid))


def test_a_step_that_kills_its_workers_fails_and_names_them(
    pair: Lab, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "TRIES", 1)
    have(pair, "one", "two")
    goal = step("held", hold, f"{marks.parent.name}", Unkeyed(marks))
    other = step("other", write, f"{marks.parent.name}")
    built = Built(pair, goal, other)
    program(marks)
    # the build has heard of that one
    wait_until(lambda: "finished other" in built.recorder.events)
    name = worker_of(pair, marks)
    pair.kill(name)
    outcome = built.end()
    assert f"{name} (tls://127.0.0.1:" in outcome.failed[goal].message
    assert "none could finish it" in outcome.failed[goal].message
    assert other in outcome.values


def test_a_worker_without_room_on_its_disk_is_passed_over(pair: Lab, tmp_path: Path) -> None:
    """Of two, the one that was preferred says that it cannot."""
    for name in [name for name in pair.processes if name != "head"]:
        pair.kill(name)
    remote, store = pair.place / "remote", pair.place / "full-store"
    remote.mkdir()
    pair.start_worker("full", store=store, full=True, remote=f"file://{remote}", wait=False)
    pair.start_worker("roomy", store=pair.place / "roomy-store", can=("more",), remote=f"file://{remote}")
    pair.wait_for("full")
    goal = step("filled", fill, f"{tmp_path}", "full-store")
    outcome = pair.build(goal, remote=remote)
    assert not outcome.failed
    assert list((store / "failed").iterdir())
    assert list((pair.place / "roomy-store" / "artifacts").rglob("text"))
    pair.kill("full")
    pair.kill("roomy")


def test_an_interrupt_ends_programs_on_workers(pair: Lab, marks: Path) -> None:
    have(pair, "one")
    goal = step("held", hold, f"{marks.parent.name}", Unkeyed(marks))
    store = DirectoryStore(pair.store)
    with pair.client(store) as used:
        thread = threading.Thread(
            target=lambda: graph.build([goal], store, used, listener=Recorder()), daemon=True
        )
        thread.start()
        pid = program(marks)
        begun = time.monotonic()
        used.interrupt()
        assert time.monotonic() - begun < 10
        assert not alive(pid)
    assert "ending held on one" in pair.said
    thread.join(10)
    # the worker is as good as new: what was interrupted is made
    assert not pair.build(step("after", write, f"{marks.parent.name}")).failed
    assert not pair.build(step("held", hold_once, f"{marks.parent.name}", Unkeyed(marks))).failed


def test_programs_of_a_killed_client_end(pair: Lab, marks: Path) -> None:
    have(pair, "one")
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(pair.place), str(pair.port), marks.parent.name, str(marks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    pid = program(marks)
    client.kill()
    client.wait()
    wait_until(lambda: not alive(pid), 10)


def test_a_head_that_dies_ends_the_build_and_the_next_one_goes_on(
    pair: Lab, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (dispatcher, connection):
        monkeypatch.setattr(module, "HEAD_SECONDS", 3.0)
    have(pair, "one")
    text = step("text", write, f"{marks.parent.name}")
    held = step("held", hold_once, f"{marks.parent.name}", Unkeyed(marks))
    goal = step("both", join, gather([text, held]), "+")
    built = Built(pair, goal)
    pid = program(marks)
    wait_until(lambda: "finished text" in built.recorder.events)
    pair.kill("head")
    outcome = built.end()
    message = built.error.message if built.error else outcome.failed[held].message
    assert "is gone" in message
    assert built.error is not None or outcome.not_started == {goal: held}
    wait_until(lambda: not alive(pid), 10)
    pair.start_head()
    assert pair.build(goal).value(goal).file.read_text().startswith(f"{marks.parent.name}+")
    assert "the head is gone" in pair.log("one")


def test_a_worker_that_is_told_to_end_ends_its_programs(pair: Lab, marks: Path) -> None:
    have(pair, "one", "two")
    goal = step("held", hold_once, f"{marks.parent.name}", Unkeyed(marks), cost=Cost(cores=1))
    built = Built(pair, goal)
    pid = program(marks)
    begun = time.monotonic()
    pair.kill(worker_of(pair, marks), signal.SIGTERM)
    assert time.monotonic() - begun < 10
    assert not alive(pid)
    assert not built.end().failed


def test_a_step_whose_only_worker_is_gone_for_good_does_not_hang(
    pair: Lab, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "REJOIN_SECONDS", 2.0)
    pair.start_worker("special", can=("special",))
    goal = step("held", hold, f"{marks.parent.name}", Unkeyed(marks), cost=Cost(needs=("special",)))
    built = Built(pair, goal)
    program(marks)
    pair.kill("special")
    error = built.end().failed[goal]
    assert "held cannot go on: no worker has special" in error.message
    assert error.log is not None
    assert error.log.is_relative_to(pair.store)


def test_an_answer_that_cannot_be_used_ends_its_step(
    pair: Lab, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(pair, "one")

    def broken(*_: object) -> None:
        raise EOFError("the archive ends too early")

    monkeypatch.setattr(attempts.Trip, "made", broken)
    goal = step("text", write, f"{marks.parent.name}")
    error = Built(pair, goal).end().failed[goal]
    assert "text: what its worker has answered cannot be used" in error.message
