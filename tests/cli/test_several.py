"""`all` of several refs, as a person or Jenkins sees it."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer
from rich.console import Console

from imagebuild.cli.build import build_all
from imagebuild.cli.progress import showing as show
from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.sharing import share
from imagebuild.engine.steps import gather, step
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.session import batch
from imagebuild.session.build import Build, Order
from tests.cli.running import CONFIG, run
from tests.engine.building import BUDGET
from tests.engine.sample_steps import fail, join, shout, write
from tests.release_lab import Line
from tests.session.batches import build_of
from tests.tools.ostree.commits import REF, Source

ONE, OTHER = "debian/12/x86_64/atomic-host", "debian/13/x86_64/atomic-host"


class Lab:
    """Two release lines of the lab, which `all` finds in place of what it would pull."""

    def __init__(self, place: Path, homedir: Path) -> None:
        self.place = place
        self.one, self.other = Line(place / "one", homedir), Line(place / "other", homedir, ref=OTHER)
        self.other.changes["release"] = "13"
        self.other.output = self.one.output
        self.fails: dict[str, type[BuildError]] = {}

    def prepare(self, order: Order, say: object) -> Build:
        line = self.one if order.ref == ONE else self.other
        return build_of(line, order.store, fails=self.fails.get(line.ref))

    def run(self, **options: object) -> int:
        try:
            build_all(
                ref=[ONE],
                patterns=["debian/13/*/*"],
                store=self.place / "store",
                output=self.one.output,
                date="20261126",
                **options,  # type: ignore[arg-type]
            )
        except typer.Exit as ended:
            return ended.exit_code
        return 0


@pytest.fixture
def lab(tmp_path: Path, homedir: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab(tmp_path, homedir)
    monkeypatch.setattr(batch, "prepare", made.prepare)
    return made


class Said:
    """What was printed since the test began."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    def getvalue(self) -> str:
        self._text += "".join(self._capsys.readouterr())
        return self._text


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def test_each_ref_has_a_report_and_a_release(lab: Lab, said: Said, tmp_path: Path) -> None:
    assert lab.run(reports=tmp_path / "reports", events=tmp_path / "events") == 0
    for ref, name in ((ONE, "Debian-Atomic-12-20261126.0"), (OTHER, "Debian-Atomic-13-20261126.0")):
        place = tmp_path / "reports" / ref
        assert {file.name for file in place.iterdir()} == {"verdict.json", "junit.xml", "report.html"}
        assert (lab.one.output / name / "STATUS").is_file()
        assert f"{ref}: released: {lab.one.output / name}" in said.getvalue()
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert {event["ref"] for event in events} == {ONE, OTHER}
    assert all(event["step"].startswith(f"{event['ref']}: ") for event in events)
    # at night nothing is left to do
    lab.run(nightly=True)
    assert said.getvalue().count("nothing to do") == 2


@pytest.mark.parametrize(
    ("fails", "code"),
    [
        ({ONE: CriteriaError}, 3),
        ({OTHER: BuildError}, 1),
        ({ONE: CriteriaError, OTHER: BuildError}, 1),
    ],
)
def test_the_exit_code_is_the_worst_of_all(
    lab: Lab, said: Said, fails: dict[str, type[BuildError]], code: int
) -> None:
    lab.fails = fails
    assert lab.run() == code
    text = said.getvalue()
    for ref in (ONE, OTHER):
        assert (lab.one.output / ref / "report.html").is_file()
        assert (f"{ref}: released: " in text) == (ref not in fails)
    for ref, how in fails.items():
        assert f"{ref}: {'release criteria do not hold' if how is CriteriaError else 'failed'}: " in text


def test_the_plan_shows_every_ref_and_builds_nothing(
    lab: Lab, said: Said, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab.run(plan=True) == 0
    assert f"build  {ONE}: pull: never built" in said.getvalue()
    assert f"build  {OTHER}: release: never built" in said.getvalue()
    assert lab.run(plan=True, as_json=True) == 0
    rows = json.loads(capsys.readouterr().out)
    refs = {row["step"]: row["refs"] for row in rows}
    assert refs[f"{ONE}: pull"] == [ONE]
    assert refs[f"{OTHER}: pull"] == [OTHER]
    # both lines have the same one
    assert refs[f"{ONE}: kickstart cloud"] == [ONE, OTHER]
    assert f"{ONE}: kickstart cloud: never built (also for {OTHER})" in said.getvalue()
    assert not list((tmp_path / "store" / "artifacts").iterdir())


def test_a_terminal_gets_a_heading_for_each_ref(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100, color_system=None)
    text = step("text", write, "hello")
    lines = {
        "a/1": step("loud", shout, text),
        "b/1": step("join", join, gather([step("bad", fail, text)]), ""),
    }
    common = share(lines)
    goals = [common[goal] for goal in lines.values()]
    with show(console) as view, ThreadPoolExecutor(2) as executor:
        view.expect([one.name for one in planning.order(goals)])
        graph.build(goals, DirectoryStore(tmp_path), executor, budget=BUDGET, listener=view)
    rows = [line.strip() for line in shown.getvalue()[shown.getvalue().rindex("a/1") :].splitlines()]
    assert rows[0].split(maxsplit=1) == ["a/1", "2 of 2 steps done"]
    assert any(row.startswith("b/1") and "0 of 2 steps done, 1 FAILED, 1 not started" in row for row in rows)
    assert any("bad" in row and "no luck" in row for row in rows)
    # what is done is counted
    assert not any("loud" in row for row in rows)


def test_refs_are_listed(source: Source, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(CONFIG.format(url=source.url, key=source.key, size="6 GiB"))
    asked = ["refs", "--config", str(file), "--store", str(tmp_path / "store")]
    assert json.loads(run(*asked, "--json").stdout) == [
        {
            "ref": REF,
            "config": str(file),
            "product": "Test",
            "release": "1",
            "arch": "x86_64",
            "host_kind": "ostree",
        }
    ]
    assert run(*asked).stdout == f"{REF}: {file}, x86_64, ostree\n"


def test_the_plan_of_real_refs(source: Source, tmp_path: Path) -> None:
    other = REF.replace("host", "other")
    source.repo.set_ref(other, source.commit)
    file = tmp_path / "test.yaml"
    text = CONFIG.format(url=source.url, key=source.key, size="6 GiB")
    file.write_text(text.replace(REF, "test/1/x86_64/*"))
    store = tmp_path / "store"
    finished = run("all", "--refs", "*", "--config", file, "--store", store, "--plan")
    assert finished.returncode == 0, finished.stderr
    beside = tmp_path / "beside.yaml"
    file.write_text(text)
    beside.write_text(text.replace(REF, other))
    both = run("all", "--config", file, "--config", beside, "--store", store, "--plan")
    assert both.stdout == finished.stdout
    for ref in (REF, other):
        assert f"{ref}: {ref} is {source.commit}" in finished.stdout
        assert f"build  {ref}: qcow2 cloud: never built" in finished.stdout


def test_wrong_usage_of_several(tmp_path: Path) -> None:
    finished = run("all", "--refs", "nothing/*", "--store", tmp_path)
    assert finished.returncode == 2
    assert "--refs nothing/*: there is no such ref" in finished.stderr
