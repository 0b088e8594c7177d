"""Each step once, in parallel, resumable."""

import multiprocessing
import os
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuild.engine import graph, guest_slots, planning, steps
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Cost, Step, Unkeyed, gather, step
from tests.engine.building import BUDGET, Recorder, run
from tests.engine.sample_steps import Text, calls, fail, join, shout, write


def crash(out: Path, text: str) -> Text:
    raise ValueError("unexpected")


def test_a_step_is_built_once_and_reused(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    goal = step("loud", shout, step("text", write, "hello"))
    assert run(goal, store).value(goal).file.read_text() == "HELLO"
    again = step("loud", shout, step("text", write, "hello"))
    recorder = Recorder()
    assert run(again, store, recorder).value(again).file.read_text() == "HELLO"
    assert calls == ["write hello", "shout"]
    assert not [event for event in recorder.events if event.startswith("started")]


def test_a_changed_parameter_builds_its_branch_only(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)

    def wire(second: str) -> Step[Text]:
        return step("join", join, gather([step("one", write, "1"), step("two", write, second)]), "+")

    assert run(wire("2"), store).records
    calls.clear()
    goal = wire("3")
    assert run(goal, store).value(goal).file.read_text() == "1+3"
    assert calls == ["write 3", "join"]


def test_inputs_of_a_finished_step_are_not_needed_any_more(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    goal = step("loud", shout, step("text", write, "hello"))
    run(goal, store)
    for place in (tmp_path / "artifacts").glob("*.write/*"):
        (place / "artifact.json").unlink()
    calls.clear()
    run(goal, store)
    assert calls == []


def test_an_unkeyed_parameter_does_not_change_the_key() -> None:
    keys = {steps.key_of(step("text", write, Unkeyed(text))) for text in ("a", "b")}
    assert len(keys) == 1
    assert steps.key_of(step("text", write, "a")) != steps.key_of(step("text", write, "b"))


def test_tool_versions_are_part_of_the_key() -> None:
    assert steps.key_of(step("text", write, "a", tools={"x": "1"})) != steps.key_of(
        step("text", write, "a", tools={"x": "2"})
    )


def test_a_failure_leaves_its_log_and_no_half_artifact_and_others_go_on(tmp_path: Path) -> None:
    store, recorder = DirectoryStore(tmp_path), Recorder()
    text = step("text", write, "hello")
    bad, good = step("bad", fail, text), step("good", shout, text)
    goal = step("join", join, gather([bad, good]), "+")
    outcome = run(goal, store, recorder)
    assert outcome.value(good).file.read_text() == "HELLO"
    error = outcome.failed[bad]
    assert error.log is not None
    assert "no luck" in error.log.read_text()
    assert outcome.not_started == {goal: bad}
    assert "not started join because of bad" in recorder.events
    assert not list(tmp_path.rglob("half"))
    assert not list((tmp_path / "scratch").iterdir())


def test_a_failure_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 1 << 30

    def usage(place: Path) -> shutil._ntuple_diskusage:
        assert place == tmp_path
        return shutil._ntuple_diskusage(1 << 40, 1 << 40, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    hints = []
    for left in (1 << 30, 4096):
        free = left
        bad = step("bad", fail, step("text", write, "hello"))
        hints.append(run(bad, DirectoryStore(tmp_path)).failed[bad].hint)
    assert hints == [
        "try again",
        f"{tmp_path} is full, 0.0 MB are free: make space (imagebuild gc); try again",
    ]


def test_an_unexpected_error_becomes_a_sentence_and_the_traceback_is_in_the_log(tmp_path: Path) -> None:
    goal = step("crash", crash, "x")
    error = run(goal, DirectoryStore(tmp_path)).failed[goal]
    assert "this is a bug" in error.hint
    assert error.log is not None
    assert "Traceback" in error.log.read_text()


def test_a_cut_file_is_built_again(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    goal = step("text", write, "hello")
    run(goal, store).value(goal).file.write_text("hel")
    calls.clear()
    assert run(goal, store).value(goal).file.read_text() == "hello"
    assert calls == ["write hello"]


def test_the_plan_says_what_changed(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    run(step("loud", shout, step("text", write, "hello")), store)
    planned = planning.plan([step("loud", shout, step("text", write, "bye"))], store)
    assert [(each.step.name, each.todo) for each in planned] == [("text", True), ("loud", True)]
    assert "parameter text" in planned[0].reason
    assert "input text" in planned[1].reason
    assert [
        each.todo for each in planning.plan([step("loud", shout, step("text", write, "hello"))], store)
    ] == [
        False,
        False,
    ]


def slow(out: Path, text: str) -> Text:
    running.append(text)
    peak.append(len(running))
    time.sleep(0.1)
    running.remove(text)
    return Text(out)


running: list[str] = []
peak: list[int] = []


def test_memory_bounds_how_many_steps_run_at_once(tmp_path: Path) -> None:
    peak.clear()
    goal = step(
        "join",
        join2,
        gather([step(f"guest {number}", slow, str(number), cost=Cost(memory=600)) for number in range(3)]),
    )
    run(goal, DirectoryStore(tmp_path))
    assert max(peak) == 1


@pytest.mark.parametrize("serial", [True, False])
def test_one_job_is_one_step_at_a_time_background_steps_too(tmp_path: Path, serial: bool) -> None:
    peak.clear()
    steps_ = [
        step(f"step {number}", slow, str(number), cost=Cost(background=number % 2 == 0))
        for number in range(4)
    ]
    recorder = Recorder()
    with ThreadPoolExecutor(4) as executor:
        goal = step("join", join2, gather(steps_))
        outcome = graph.build(
            [goal], DirectoryStore(tmp_path), executor, budget=BUDGET, listener=recorder, one_at_a_time=serial
        )
    assert not outcome.failed
    assert (max(peak) == 1) == serial
    # nor is one said to have started that only waits for a thread
    begun = [event.partition(" ")[0] for event in recorder.events]
    assert (begun == ["started", "finished"] * 5) == serial


def join2(out: Path, texts: tuple[Text, ...]) -> Text:
    return Text(out)


def test_two_builders_of_one_key_work_once(tmp_path: Path) -> None:
    results: list[Outcome] = []

    def build() -> None:
        goal = step("slow", slow_once, "x")
        results.append(run(goal, DirectoryStore(tmp_path)))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["slow x"]
    assert len(results) == 2
    assert not any(result.failed for result in results)


def slow_once(out: Path, text: str) -> Text:
    calls.append(f"slow {text}")
    time.sleep(0.5)
    return Text(out)


def test_waiting_for_another_builder_is_told(tmp_path: Path) -> None:
    store, recorder = DirectoryStore(tmp_path), Recorder()
    goal = step("text", write, "hello")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock(steps.kind_of(goal), steps.key_of(goal)):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    threading.Timer(0.5, leave.set).start()
    run(goal, store, recorder)
    thread.join()
    assert recorder.events == ["waiting for text", "finished text"]


def test_steps_run_in_other_processes_too(tmp_path: Path) -> None:
    # what a cluster's executor does: everything handed over is pickled
    goal = step("loud", shout, step("text", write, "hello"))
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        outcome = graph.build([goal], DirectoryStore(tmp_path), executor, budget=BUDGET, listener=Recorder())
    assert outcome.value(goal).file.read_text() == "HELLO"


def test_garbage_goes_and_what_the_last_builds_used_stays(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    for text in ("one", "two", "three"):
        run(step("text", write, text), store)
    freed, busy = store.collect(keep=2)
    assert freed > 0
    assert not busy
    left = {file.read_text() for file in (tmp_path / "artifacts").rglob("text")}
    assert left == {"two", "three"}


def test_garbage_collection_leaves_what_is_being_built(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    with store.lock("kind", "key"):
        store.scratch("kind", "key")
        _, busy = store.collect(keep=0)
        assert busy == ["kind-key"]
    assert store.collect(keep=0)[1] == []


def test_the_plan_compares_with_what_was_finished_last_not_with_what_was_interrupted(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    run(step("loud", shout, step("text", write, "hello")), store)
    store.remember({"text": ("test_graph.write", "0" * 32)}).close("interrupted")
    assert planning.plan([step("text", write, "bye")], store)[0].reason == "changed: parameter text"


def test_garbage_collection_leaves_what_a_build_that_runs_has_used(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    goal = step("text", write, "hello")
    run(goal, store)
    diary = store.remember({"text": (steps.kind_of(goal), steps.key_of(goal))})
    run(step("text", write, "bye"), store)
    store.collect(keep=0)
    assert store.find(steps.kind_of(goal), steps.key_of(goal)) is not None
    diary.close("over")
    store.collect(keep=0)
    assert store.find(steps.kind_of(goal), steps.key_of(goal)) is None
    assert not list((tmp_path / "builds").iterdir())


def test_a_step_with_guests_waits_for_the_guests_of_other_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(guest_slots.VARIABLE, str(tmp_path / "slots"))
    goal = step("guest", write, "hello", cost=Cost(cores=1, guests=1))
    said: list[str] = []
    with guest_slots.taken(os.cpu_count() or 1, say=said.append):
        thread = threading.Thread(target=run, args=(goal, DirectoryStore(tmp_path / "store")))
        thread.start()
        # what needs no guest goes on meanwhile
        run(step("text", write, "bye"), DirectoryStore(tmp_path / "store"))
        assert calls == ["write bye"]
        log = tmp_path / "store" / "scratch" / f"{steps.kind_of(goal)}-{steps.key_of(goal)}" / "log"
        deadline = time.monotonic() + 10
        while "waiting for guests of other builds" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    thread.join(10)
    assert calls == ["write bye", "write hello"]
    assert said == []


def test_what_reads_the_last_failure_is_told(tmp_path: Path) -> None:
    """Nothing else runs or waits any more."""
    bad = step("bad", fail, step("text", write, "hello"))
    goal = step("loud", shout, step("louder", shout, bad))
    recorder = Recorder()
    outcome = run(goal, DirectoryStore(tmp_path), recorder)
    assert outcome.not_started[goal] is bad
    assert recorder.events[-2:] == [
        "not started louder because of bad",
        "not started loud because of bad",
    ]
