"""The timeline of a build on a cluster has lanes for each worker."""

import json
from pathlib import Path

from imagebuild.engine.directory import DirectoryStore
from imagebuild.report.history import bars, builds_of, page, trace


def test_each_worker_has_lanes_of_its_own(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    diary = store.remember({})
    for name, worker in (("pull", None), ("disk a", "b7"), ("disk b", "b7"), ("disk c", "b8")):
        diary.begins(name, ("kind", name), background=False)
        diary._state["running"][-1]["worker"] = worker
    for span in list(diary._state["running"]):
        diary.ends(span["step"], "done", worker=span["worker"])
    diary.close("over")
    (build,) = builds = builds_of(store, 1)
    assert {span.step: span.worker for span in build.spans} == {
        "pull": None, "disk a": "b7", "disk b": "b7", "disk c": "b8",
    }  # fmt: skip
    events = json.loads(trace(builds))["traceEvents"]
    lanes = {each["tid"]: each["args"]["name"] for each in events if each["name"] == "thread_name"}
    steps = {each["name"]: lanes[each["tid"]] for each in events if each["ph"] == "X"}
    assert steps == {"pull": "this machine", "disk a": "b7", "disk b": "b7", "disk c": "b8"}
    # the two that ran at once do not hide each other
    assert len(lanes) == 4
    html = page(builds)
    assert html.count('title="disk') == 3
    assert "<span>b7</span>" in html
    assert len(bars(build)) == 4


def test_a_build_on_one_machine_has_none(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    diary = store.remember({})
    diary.begins("pull", ("kind", "key"), background=False)
    diary.ends("pull", "done")
    diary.close("over")
    assert "<span>this machine</span>" not in page(builds_of(store, 1))


def test_a_timeline_that_was_cut_and_one_of_an_older_imagebuild_are_read(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    diary = store.remember({})
    diary.begins("pull", ("kind", "key"), background=False)
    diary.ends("pull", "done")
    diary.close("over")
    timeline = next((tmp_path / "builds").glob("*.timeline"))
    row = timeline.read_text()
    timeline.write_text(row + row[:20])
    assert len(builds_of(store, 1)[0].spans) == 1
    timeline.write_text(json.dumps([json.loads(row), json.loads(row)], indent=1))
    assert len(builds_of(store, 1)[0].spans) == 2
