"""What the user sees while a build runs and when it is over."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from imagebuild.cli import progress
from imagebuild.cli import showing as report
from imagebuild.cli.progress import showing
from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, gather, step
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Image
from imagebuild.session.outcome import write_verdict
from tests.engine.sample_steps import fail, join, shout, write


def build(tmp_path: Path, *, terminal: bool) -> str:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=100, color_system=None)
    text = step("text", write, "hello")
    goal = step("join", join, gather([step("loud", shout, text), step("bad", fail, text)]), "+")
    with showing(console) as view, ThreadPoolExecutor(2) as executor:
        view.expect([one.name for one in planning.order([goal])])
        graph.build([goal], DirectoryStore(tmp_path), executor, budget=Cost(cores=2), listener=view)
    return shown.getvalue()


def test_a_pipe_gets_plain_lines(tmp_path: Path) -> None:
    lines = build(tmp_path, terminal=False).splitlines()
    said = [line.split("] ", 1)[1] for line in lines]
    assert said[0] == "text: started"
    assert "bad: FAILED: no luck" in said
    assert "join: not started, because of bad" in said
    assert any(line.startswith("loud: done in ") for line in said)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_a_table_with_every_step(tmp_path: Path) -> None:
    shown = build(tmp_path, terminal=True)
    last = shown[shown.rindex("text") - 10 :]
    for name, state in (("loud", "done"), ("bad", "no luck"), ("join", "because of bad")):
        assert any(name in line and state in line for line in last.splitlines()), last


def test_the_last_line_of_a_log_is_clean(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n10%\r50%\r\x1b[32m100%\x1b[0m done\n\n")
    assert progress.last_line(log) == "100% done"
    assert not progress.last_line(tmp_path / "none")


def test_durations_are_said_as_people_do() -> None:
    assert report.duration(3.21) == "3.2 s"
    assert report.duration(245) == "4:05"


def cell(criterion: str, state: State, reason: str = "") -> Cell:
    return Cell(
        criterion=criterion,
        artifact="a.qcow2",
        firmware=Firmware.BIOS,
        state=state,
        reason=reason,
        evidence="x.log",
        seconds=1.0,
    )


def test_the_report_shows_artifacts_criteria_and_reasons(tmp_path: Path) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=160, color_system=None)
    cells = [
        (cell("boots", State.PASSED), tmp_path),
        (cell("containers-run", State.NOT_TESTED, "no runtime"), tmp_path),
    ]
    image = Image(
        file=tmp_path / "a", name="a", format="qcow2", disk_size=1 << 30, size=5_000_000, sha256="0" * 64
    )
    report.show_artifacts(console, [(image, tmp_path / "a.qcow2")])
    report.show_criteria(console, cells)
    report.show_error(console, BuildError("no luck", hint="try again", log=tmp_path / "log"), where="disk")
    text = shown.getvalue()
    for part in (
        "5.0 MB",
        "0" * 64,
        "containers-run",
        "not tested: no runtime",
        f"evidence: {tmp_path}",
        "imagebuild: disk: no luck",
        "try: try again",
    ):
        assert part in text, part
    write_verdict(tmp_path / "out" / "verdict.json", cells)
    rows = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert rows[1] == {
        "criterion": "containers-run",
        "artifact": "a.qcow2",
        "firmware": "bios",
        "state": "not tested",
        "reason": "no runtime",
        "evidence": str(tmp_path / "x.log"),
        "seconds": 1.0,
        "found": None,
        "carried": False,
        "same_as": "",
    }
