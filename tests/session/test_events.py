"""The stream of events that other programs read."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, gather, step
from imagebuild.session.build import Quiet
from imagebuild.session.events import EventStream, Listeners
from tests.engine.sample_steps import fail, join, write

BUDGET = Cost(cores=4, memory=1 << 40)


def events_of(tmp_path: Path, *goals: Any) -> list[dict[str, Any]]:
    written = io.StringIO()
    with ThreadPoolExecutor(2) as executor:
        listener = Listeners([Quiet(), EventStream(written)])
        graph.build([*goals], DirectoryStore(tmp_path), executor, budget=BUDGET, listener=listener)
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_each_event_is_a_line_with_time_and_step(tmp_path: Path) -> None:
    text = step("text", write, "hello")
    first = events_of(tmp_path, text)
    assert [(event["event"], event["step"]) for event in first] == [("started", "text"), ("finished", "text")]
    assert first[0]["log"].endswith("/log")
    assert first[1]["cached"] is False
    assert first[0]["time"] <= first[1]["time"]
    again = events_of(tmp_path, text)
    assert [(event["event"], event["cached"]) for event in again] == [("finished", True)]


def test_a_failure_names_its_message_and_what_it_keeps_from_starting(tmp_path: Path) -> None:
    bad = step("bad", fail, step("text", write, "x"))
    events = events_of(tmp_path, step("both", join, gather([bad]), ""))
    failed = next(event for event in events if event["event"] == "failed")
    assert failed["step"] == "bad"
    assert failed["message"]
    assert failed["criteria"] is False
    assert {"event": "not started", "step": "both", "because": "bad"}.items() <= events[-1].items()


def test_progress_is_told() -> None:
    written = io.StringIO()
    EventStream(written).progress("disk cloud", "installing „the host“\n")
    assert json.loads(written.getvalue())["text"] == "installing „the host“\n"
    assert written.getvalue().count("\n") == 1
