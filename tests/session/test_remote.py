"""A remote store, as a session uses it: planned from, brought from, looked at, cleaned."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from imagebuild.cli.progress import View
from imagebuild.engine import planning
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Step, gather, key_of, kind_of, step
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError
from imagebuild.pipeline import Pipeline
from imagebuild.session import doctor, storage
from imagebuild.session.bringing import bring, shown
from imagebuild.session.build import Build, Order, Quiet, prepare, result_of
from imagebuild.session.events import EventStream
from tests.cli.running import CONFIG, run
from tests.engine import building
from tests.engine.remotes import Server, machine, serving, share
from tests.engine.sample_steps import Text, join, write
from tests.tools.ostree.commits import Source


def put(store: Any, one: Step[Any]) -> None:
    kind, key = kind_of(one), key_of(one)
    with store.lock(kind, key):
        store.finish(store.scratch(kind, key), kind, key, value={"size": 1}, components={}, seconds=1.0)


def test_an_empty_machine_with_a_full_remote_plans_nothing(tmp_path: Path, source: Source) -> None:
    """Keys do not depend on where a store lies."""
    file, url = tmp_path / "line.yaml", share(tmp_path)
    file.write_text(CONFIG.format(url=source.url, key=source.key, size="6 GiB"))
    first = prepare(Order(config=file, store=tmp_path / "one", store_remote=url))
    assert all(planned.todo for planned in first.planned)
    for one in planning.order([first.pipeline.release]):
        put(machine(tmp_path / "one", url), one)
    second = prepare(Order(config=file, store=tmp_path / "two", store_remote=url))
    assert {planned.reason for planned in second.planned} == {"finished"}
    # and the command says so, too
    said = run("all", "--plan", "--config", file, "--store", tmp_path / "three", "--store-remote", url)
    assert said.returncode == 0, said.stderr
    assert "build  " not in said.stdout
    assert "keep   disk cloud: finished" in said.stdout
    other = run("all", "--plan", "--config", file, "--store", tmp_path / "four", IMAGEBUILD_STORE_REMOTE=url)
    assert "keep   disk cloud: finished" in other.stdout


def test_only_what_is_read_when_a_build_is_over_is_brought(tmp_path: Path) -> None:
    url = share(tmp_path)
    image, verdict, disk = (step(name, write, name) for name in ("image", "verdict", "disk"))
    goal = step("release", join, gather([image, verdict, disk]), "+")
    building.run(goal, machine(tmp_path / "one", url))
    two = machine(tmp_path / "two", url)
    outcome = building.run(goal, two)
    pipeline = cast("Pipeline", SimpleNamespace(isos=(), images=(image,), verdicts=(verdict,)))
    bring(two, outcome, shown(pipeline))
    assert {place.name for place in (tmp_path / "two/artifacts/sample_steps.write").iterdir()} == {
        key_of(image),
        key_of(verdict),
    }
    # what failed has no artifact
    bring(two, Outcome(), shown(pipeline))


def test_what_a_build_returns_is_there(tmp_path: Path) -> None:
    url, image = share(tmp_path), step("image", write, "image")
    goal = step("release", join, gather([image]), "+")
    building.run(goal, machine(tmp_path / "one", url))
    pipeline = SimpleNamespace(
        isos=(), images=(image,), verdicts=(), installations=(), tree=image, release=goal
    )
    two = machine(tmp_path / "two", url)
    wired = SimpleNamespace(
        pipeline=pipeline,
        store=two,
        order=SimpleNamespace(cluster=None),
        result=lambda outcome: result_of(two, cast("Pipeline", pipeline), outcome),
    )
    result = Build.run(cast("Any", wired), Quiet(), jobs=1)
    (download,) = cast("tuple[Text]", result.downloads)
    assert download.file.read_text() == "image"
    assert download.file.is_relative_to(tmp_path / "two")


def test_doctor_says_whether_the_first_writer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = share(tmp_path)
    assert doctor._remote(url) == doctor.Diagnosis(
        what="remote store", says=f"{url} works, and has conditional writes"
    )
    assert not list((tmp_path / "share" / "probe").iterdir())
    with serving(monkeypatch) as server:
        assert doctor._remote(server.url).good
        found = deaf(server)
        assert "ignores the condition: of two machines that finish the same step" in found.says
        assert not found.good
        assert not found.needed, "a build works all the same"


def deaf(server: Server) -> doctor.Diagnosis:
    def fault(method: str, path: str, environ: dict[str, Any]) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    server.fault = fault
    return doctor._remote(server.url)


def test_commands_say_what_is_wrong_with_a_remote(tmp_path: Path) -> None:
    nowhere = f"file://{tmp_path}/nowhere"
    (tmp_path / "store").mkdir()
    said = run("gc", "--store", tmp_path / "store", "--store-remote", nowhere)
    assert said.returncode == 2
    assert "is not there: there is no directory" in said.stderr
    assert "Traceback" not in said.stderr
    assert run("gc", "--store", tmp_path / "store", "--store-remote", "ftp://x/y").returncode == 2
    (tmp_path / "nowhere").mkdir()
    said = run("gc", "--store", tmp_path / "store", "--store-remote", nowhere)
    assert said.returncode == 0, said.stderr
    assert f"0.0 MB freed in {nowhere}, 0 artifacts" in said.stdout


def test_what_a_remote_holds_is_collected(tmp_path: Path) -> None:
    building.run(step("a", write, "a"), machine(tmp_path / "one", share(tmp_path)))
    assert storage.collect_remote(share(tmp_path), 0).results == 0, "it is young"


def test_a_difference_is_told_while_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, lines, written = step("a", write, "a"), list[str](), io.StringIO()
    monkeypatch.setattr(View, "say", lambda _, line: lines.append(line))
    for remark in (None, "it differs"):
        record = StoredArtifact(tmp_path, None, {}, 1.0, remark=remark)
        for listener in (View(Console()), EventStream(written)):
            listener.finished(one, record, cached=False)
    assert lines == ["a: done in 1.0 s", "a: done in 1.0 s", "a: warning: it differs"]
    events = [json.loads(line) for line in written.getvalue().splitlines()]
    assert "remark" not in events[0]
    assert events[1]["remark"] == "it differs"


def test_a_remote_that_fails_while_it_is_brought_is_a_sentence(tmp_path: Path) -> None:
    url, goal = share(tmp_path), step("a", write, "a")
    building.run(goal, machine(tmp_path / "one", url))
    two = machine(tmp_path / "two", url)
    outcome = building.run(goal, two)
    for file in (tmp_path / "share" / "blobs").rglob("*/*"):
        file.unlink()
    with pytest.raises(BuildError, match="is not used: it is not there"):
        bring(two, outcome, [goal])
