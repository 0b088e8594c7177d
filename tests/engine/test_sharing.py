"""Several goals in one graph."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.sharing import share, split
from imagebuild.engine.steps import Step, gather, gather_available, inputs, key_of, soft_inputs, step
from tests.engine.building import BUDGET, Recorder
from tests.engine.sample_steps import Text, calls, join, shout, write


def line(own: str) -> Step[Text]:
    """Return the goal of a line: what all lines have, and what is only its own."""
    return step("join", join, gather([step("common", write, "x"), step("own", write, own)]), "+")


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def test_what_two_need_is_one_step_and_every_name_is_there_once() -> None:
    one, other = line("a"), line("b")
    common = share({"a/1": one, "b/1": other})
    goals = [common[one], common[other]]
    names = [each.name for each in planning.order(goals)]
    assert sorted(names) == ["a/1: common", "a/1: join", "a/1: own", "b/1: join", "b/1: own"]
    assert [key_of(common[each]) for each in (one, other)] == [key_of(one), key_of(other)]
    shared = {name for goal in goals for name in (each.name for each in inputs(goal))}
    assert shared == {"a/1: common", "a/1: own", "b/1: own"}
    assert split("a/1: own") == ("a/1", "own")
    assert split("own") == ("", "own")


def test_it_is_built_once(tmp_path: Path) -> None:
    one, other = line("a"), line("b")
    common = share({"a": one, "b": other})
    recorder = Recorder()
    with ThreadPoolExecutor(2) as executor:
        outcome = graph.build(
            [common[one], common[other]], DirectoryStore(tmp_path), executor, budget=BUDGET, listener=recorder
        )
    assert not outcome.failed
    assert sorted(calls) == ["join", "join", "write a", "write b", "write x"]
    # found under its own key by a build of that line alone
    assert [planned.todo for planned in planning.plan([line("a")], DirectoryStore(tmp_path))] == [False] * 3


def test_what_can_be_done_without_stays_so() -> None:
    first = step("first", write, "x")
    goal = step("join", join, gather_available([first, step("loud", shout, first)]), "+")
    common = share({"a": goal})
    assert soft_inputs(common[goal]) == {common[each] for each in soft_inputs(goal)}
