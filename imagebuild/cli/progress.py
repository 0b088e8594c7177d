"""What the user sees while a build runs: a live view on a terminal, plain lines elsewhere. Each running step
shows its log's last line.
"""

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from imagebuild.cli.showing import duration
from imagebuild.engine.sharing import split
from imagebuild.engine.steps import Step
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.steplog import STAGE

TAIL_BYTES = 2000
LOOK_SECONDS = 1.0
LONGEST_STAGE = 100
# states of steps that a view of several refs only counts
QUIET = ("waiting", "done", "finished before", "not started")


def last_line(log: Path) -> str:
    """Return the last line of a growing log that says something, without control sequences."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in _clean(text.replace("\r", "\n")).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _clean(text: str) -> str:
    """Return a text without control sequences: a guest or a program may have written it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]", "", text)


@dataclass
class _Row:
    """One step; `stage` is what its log last said that it does (`steplog.STAGE`), `read` the bytes of the log
    that were looked at.
    """

    state: str
    begun: float = 0.0
    seconds: float = 0.0
    log: Path | None = None
    note: str = ""
    stage: str = ""
    read: int = 0


def _new_stages(row: _Row) -> list[str]:
    """Return the stages in whole lines that a log has got since it was last looked at."""
    assert row.log is not None
    try:
        with row.log.open("rb") as stream:
            stream.seek(row.read)
            whole, _, _ = stream.read().rpartition(b"\n")
    except OSError:
        return []
    row.read += len(whole)
    lines = whole.decode("utf-8", "replace").split("\n")
    return [_clean(line.removeprefix(STAGE))[:LONGEST_STAGE] for line in lines if line.startswith(STAGE)]


class View:
    """Listens to a build and shows it; also the one for a pipe: one line per event. `heard` are told which
    stage of a step begins (name of the step, text).
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.rows: dict[str, _Row] = {}
        self.heard: list[Callable[[str, str], None]] = []

    def expect(self, names: list[str]) -> None:
        """Name the steps to come, in order."""
        self.rows = {name: _Row("waiting") for name in names}

    def started(self, one: Step[Any], log: Path, *, busy: bool) -> None:
        """A step runs."""
        self.rows[one.name] = _Row("running", begun=time.monotonic(), log=log)
        self.say(f"{one.name}: {'waiting for another imagebuild that builds it' if busy else 'started'}")

    def finished(self, one: Step[Any], record: StoredArtifact, *, cached: bool) -> None:
        """A step's artifact is there."""
        self.rows[one.name] = _Row("finished before" if cached else "done", seconds=record.seconds)
        self.say(f"{one.name}: {'finished before' if cached else f'done in {duration(record.seconds)}'}")
        if record.remark is not None:
            self.say(f"{one.name}: warning: {record.remark}")

    def failed(self, one: Step[Any], error: BuildError) -> None:
        """A step failed."""
        row = self.rows.get(one.name, _Row("running", begun=time.monotonic()))
        word = "criteria do not hold" if isinstance(error, CriteriaError) else "FAILED"
        self.rows[one.name] = _Row(
            word, seconds=time.monotonic() - row.begun, note=error.message.splitlines()[0]
        )
        self.say(f"{one.name}: {word}: {error.message.splitlines()[0]}")

    def not_started(self, one: Step[Any], because: Step[Any]) -> None:
        """A step was never started."""
        self.rows[one.name] = _Row("not started", note=f"because of {because.name}")
        self.say(f"{one.name}: not started, because of {because.name}")

    def look(self) -> None:
        """Look into the logs of what runs, and say what has begun there since the last time."""
        for name, row in list(self.rows.items()):
            for stage in _new_stages(row) if row.state == "running" and row.log is not None else []:
                row.stage = stage
                self.say(f"{name}: {stage}")
                for hear in self.heard:
                    hear(name, stage)

    def running(self) -> list[str]:
        """Return the names of the steps that run now."""
        return [name for name, row in list(self.rows.items()) if row.state == "running"]

    def say(self, line: str) -> None:
        """Print one event, plainly and at once."""
        self.console.print(
            f"[{time.strftime('%H:%M:%S')}] {line}", markup=False, highlight=False, soft_wrap=True
        )


def _sum_of(rows: Iterable[_Row]) -> str:
    """Return how far the steps of a ref are."""
    counted = Counter("done" if row.state == "finished before" else row.state for row in rows)
    others = [f"{count} {state}" for state, count in counted.items() if state not in ("done", "waiting")]
    return ", ".join([f"{counted['done']} of {counted.total()} steps done", *others])


class LiveView(View):
    """The same on a terminal: a table that is drawn anew while it changes, with a heading for each ref of
    several.
    """

    def say(self, line: str) -> None:
        """The table says it."""

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        groups: dict[str, dict[str, _Row]] = {}
        for name, row in list(self.rows.items()):
            ref, step = split(name)
            groups.setdefault(ref, {})[step] = row
        for ref, rows in groups.items():
            if ref:
                table.add_row("", Text(ref, style="bold"), "", Text(_sum_of(rows.values()), style="dim"))
            for step, row in rows.items():
                # of one ref everything is shown, of several what there is room for
                if not ref or row.state not in QUIET:
                    table.add_row(*self._cells(step, row))
        return Group(table)

    def _cells(self, name: str, row: _Row) -> tuple[RenderableType, ...]:
        if row.state == "running":
            said = last_line(row.log) if row.log else ""
            if row.stage and said != f"{STAGE}{row.stage}".strip():
                said = f"{row.stage}: {said}"
            return (
                Spinner("dots"),
                name,
                duration(time.monotonic() - row.begun),
                Text(said, style="dim", no_wrap=True, overflow="ellipsis"),
            )
        mark, style = {
            "done": ("✔", "green"),
            "finished before": ("✔", "dim"),
            "waiting": ("·", "dim"),
            "not started": ("-", "yellow"),
        }.get(row.state, ("✘", "red"))
        seconds = duration(row.seconds) if row.seconds else ""
        return (
            Text(mark, style=style),
            Text(name, style=style),
            seconds,
            Text(row.note or row.state, style=style, no_wrap=True, overflow="ellipsis"),
        )


@contextlib.contextmanager
def showing(console: Console) -> Iterator[View]:
    """Show a build on the console for the length of the block."""
    if console.is_terminal:
        view = LiveView(console)
        with Live(view, console=console, refresh_per_second=4, transient=False), _looking(view):
            yield view
    else:
        plain = View(console)
        with _looking(plain):
            yield plain


@contextlib.contextmanager
def _looking(view: View) -> Iterator[None]:
    """Have the logs looked into now and then, until the block ends."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            view.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
