"""What holds of every dispatcher: steps are run by the threads of this machine, and by workers of a
cluster.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import Dispatcher, HereDispatcher
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Cost, Step, Unkeyed, gather, gather_available, step
from imagebuild.engine.store import Store
from imagebuild.errors import CriteriaError
from tests.cluster.lab import Lab
from tests.cluster.steps import Text, join, judge, nap, talk, tell_process, write
from tests.engine.building import BUDGET, Recorder

MIB = 1024 * 1024
# at least as many cores as the workers of the cluster have
HERE = Cost(cores=4, memory=4096 * MIB)


@pytest.fixture(params=["here", "cluster"])
def dispatching(
    request: pytest.FixtureRequest,
) -> Callable[[], contextlib.AbstractContextManager[tuple[Store, Dispatcher]]]:
    """Return what opens a store, and a dispatcher that works for it."""
    lab: Lab = request.getfixturevalue("cluster")

    @contextlib.contextmanager
    def here() -> Iterator[tuple[Store, Dispatcher]]:
        store = DirectoryStore(lab.place / "here")
        with ThreadPoolExecutor(8) as executor:
            yield store, HereDispatcher(store, executor, HERE)

    @contextlib.contextmanager
    def there() -> Iterator[tuple[Store, Dispatcher]]:
        store = DirectoryStore(lab.store)
        with lab.client(store) as dispatcher:
            yield store, dispatcher

    return here if request.param == "here" else there


Opens = Callable[[], contextlib.AbstractContextManager[tuple[Store, Dispatcher]]]


def run(opens: Opens, *goals: Step[Any], recorder: Recorder | None = None) -> Outcome:
    with opens() as (store, dispatcher):
        return graph.build(list(goals), store, dispatcher, listener=recorder or Recorder())


def test_each_step_is_built_once_and_reused(dispatching: Opens, tmp_path: Path) -> None:
    texts = [step(f"text {number}", write, f"{tmp_path} {number}") for number in range(4)]
    goal = step("all", join, gather(texts), "+")
    first, again = Recorder(), Recorder()
    assert run(dispatching, goal, recorder=first).value(goal).file.read_text().count("+") == 3
    assert run(dispatching, goal, recorder=again).value(goal).file.read_text().count("+") == 3
    assert len([event for event in first.events if event.startswith("started")]) == 5
    assert not [event for event in again.events if event.startswith("started")]


def test_a_failure_has_its_log_and_evidence_here_and_others_go_on(dispatching: Opens, tmp_path: Path) -> None:
    bad, good = step("bad", judge, f"bad {tmp_path}"), step("good", write, f"good {tmp_path}")
    goal = step("both", join, gather([bad, good]), "+")
    soft = step("what there is", join, gather_available([bad, good]), "+")
    outcome = run(dispatching, goal, soft)
    error = outcome.failed[bad]
    assert isinstance(error, CriteriaError)
    assert error.evidence is not None
    assert "panic" in (error.evidence / "console").read_text()
    assert error.log is not None
    assert "criteria do not hold" in error.log.read_text()
    assert outcome.not_started == {goal: bad}
    assert outcome.value(soft).file.read_text() == f"good {tmp_path}"


def test_cores_and_memory_bound_what_runs_at_once(dispatching: Opens, tmp_path: Path) -> None:
    """Each takes all the memory of a worker, or of this machine."""
    cost = Cost(memory=3000 * MIB)
    naps = [
        step(
            f"nap {number}", nap, 0.4, gather([step(f"n {number}", write, f"{tmp_path} {number}")]), cost=cost
        )
        for number in range(4)
    ]
    begun = time.monotonic()
    with dispatching() as (store, dispatcher):
        at_once = 1 if isinstance(dispatcher, HereDispatcher) else 2
        outcome = graph.build(naps, store, dispatcher, listener=Recorder())
    assert not outcome.failed
    assert time.monotonic() - begun > 0.4 * 4 / at_once


def test_what_asks_for_more_than_there_is_runs_alone(dispatching: Opens, tmp_path: Path) -> None:
    huge = step("huge", write, f"{tmp_path}", cost=Cost(cores=99, memory=10**15))
    assert not run(dispatching, huge).failed


def test_background_steps_have_a_budget_of_their_own(dispatching: Opens, tmp_path: Path) -> None:
    (marks := tmp_path / "marks").mkdir()
    flag = marks / "flag"
    steps_ = [
        step("fore", talk, f"f {tmp_path}", Unkeyed(flag), cost=Cost(cores=99)),
        step("back", talk, f"b {tmp_path}", Unkeyed(flag), cost=Cost(cores=99, background=True)),
    ]
    recorder = Recorder()
    with dispatching() as (store, dispatcher), ThreadPoolExecutor(1) as beside:
        beside.submit(_touch_when, flag, lambda: len(recorder.events) == 2)
        graph.build(steps_, store, dispatcher, listener=recorder)
    assert sorted(recorder.events[:2]) == ["started back", "started fore"]


def _touch_when(flag: Path, true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.02)
    flag.touch()


def test_the_log_grows_while_a_step_runs(dispatching: Opens, tmp_path: Path) -> None:
    flag, word = tmp_path / "flag", f"hello {tmp_path}"
    goal = step("talk", talk, word, Unkeyed(flag))
    heard: list[Path] = []

    class Reader(Recorder):
        def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
            heard.append(log)

    def look() -> bool:
        return bool(heard) and heard[0].exists() and word in heard[0].read_text()

    begun = time.monotonic()
    with dispatching() as (store, dispatcher), ThreadPoolExecutor(1) as beside:
        beside.submit(_touch_when, flag, look)
        outcome = graph.build([goal], store, dispatcher, listener=Reader())
    assert not outcome.failed
    # nobody had to give up waiting
    assert time.monotonic() - begun < 9
    assert word in outcome.records[goal].log.read_text()


def test_two_that_want_the_same_build_it_once(dispatching: Opens, tmp_path: Path) -> None:
    def build(number: int) -> str:
        goal = step("who", tell_process, f"{tmp_path}")
        outcome = run(dispatching, goal)
        return str(outcome.value(goal).file.read_text())

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(build, range(2)))) == 1


def test_this_machines_own_budget_is_as_before(tmp_path: Path) -> None:
    """`build` takes an executor, too."""
    goal = step("text", write, "x")
    with ThreadPoolExecutor(2) as executor:
        outcome = graph.build([goal], DirectoryStore(tmp_path), executor, budget=BUDGET, listener=Recorder())
    assert isinstance(outcome.value(goal), Text)
