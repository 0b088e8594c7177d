"""How a build is run and shown: its plan, its steps while they run, its results, its release."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from imagebuild.cli import ending
from imagebuild.cli.showing import complaints, console, say, show_artifacts, show_criteria, show_error
from imagebuild.errors import UsageError

if TYPE_CHECKING:
    from imagebuild.engine.steps import Step
    from imagebuild.engine.store import Store
    from imagebuild.session.build import Order, PlannedStep, Result
    from imagebuild.session.events import Listeners
    from imagebuild.session.releases import Published


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a build is run and shown."""

    jobs: int
    reports: Path
    events: Path | None
    plan: bool
    as_json: bool


def complain(line: str) -> None:
    """Print a line on standard error."""
    complaints.print(line, highlight=False, soft_wrap=True)


def places_of(order: "Order", todo: list["Step[Any]"], store: "Store") -> dict[str, str]:
    """Return where each step that is to be built could run on a cluster; nothing without one."""
    from imagebuild.session import clusters

    return clusters.places_of(order.cluster, todo, store) if order.cluster is not None else {}


def show_plan(
    plan: list["PlannedStep"], remarks: tuple[str, ...], places: dict[str, str], *, as_json: bool
) -> None:
    """Print what would be built, and why."""
    if as_json:
        rows = [
            {
                "step": step.name,
                "build": step.todo,
                "reason": step.reason,
                "usual_seconds": step.usual_seconds,
            }
            | ({"refs": step.refs} if step.refs else {})
            | ({"where": places[step.name]} if step.name in places else {})
            for step in plan
        ]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for line in remarks:
        say(line)
    for step in plan:
        others = f" (also for {', '.join(step.refs[1:])})" if step.refs[1:] else ""
        where = f" (on {places[step.name]})" if step.name in places else ""
        say(f"{'build' if step.todo else 'keep '}  {step.name}: {step.reason}{others}{where}")


def say_what_comes(plan: list["PlannedStep"]) -> None:
    """Say how much is to be built, and how long that took the last time on this machine."""
    todo = [step for step in plan if step.todo]
    timed = [step.usual_seconds for step in todo if step.usual_seconds is not None]
    line = f"{len(todo)} of {len(plan)} steps are to be built"
    if timed:
        rest = f" ({len(todo) - len(timed)} were never built here)" if len(timed) < len(todo) else ""
        line += f"; one after the other they took {sum(timed) / 60:.0f} minutes the last time{rest}"
    say(line)


@contextlib.contextmanager
def listening(names: list[str], events: Path | None) -> Iterator["Listeners"]:
    """Show a build's steps, and write its events, for the length of the block."""
    from imagebuild.cli.progress import showing
    from imagebuild.session.events import EventStream, Listeners

    with _stream(events) as stream, showing(console) as view:
        ending.watch(view)
        view.expect(names)
        written = [EventStream(stream)] if stream is not None else []
        view.heard = [event.progress for event in written]
        yield Listeners([view, *written])


@contextlib.contextmanager
def _stream(events: Path | None) -> Iterator[TextIO | None]:
    if events is None:
        yield None
    elif str(events) == "-":
        # what people read goes where it does not come between
        console.file = sys.stderr
        yield sys.stdout
    else:
        try:
            stream = events.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--events {events}: cannot be written: {error.strerror}") from error
        with stream:
            yield stream


def write_result(place: Path, result: "Result") -> None:
    """Write verdict.json, junit.xml and report.html."""
    from imagebuild.session.outcome import write_reports

    tree = result.tree
    title = f"{tree.pretty_name}: {tree.version}" if tree is not None else "Release criteria"
    write_reports(place, title, result.cells)


def show_result(result: "Result") -> None:
    """Print downloads, criteria, and what failed."""
    show_artifacts(console, [(image, image.file) for image in result.downloads])
    show_criteria(console, result.cells)
    for name, error in result.failed.items():
        show_error(complaints, error, where=name)
    for name, because in result.not_started.items():
        complain(f"imagebuild: {name} was not started, because {because} failed")


def say_released(published: "Published") -> None:
    """Say where a release lies."""
    if not published.new:
        say(f"released before: {published.place}")
        return
    if published.unsigned:
        say(
            "the commit need not be signed (tree.allow_unsigned): nobody can verify this release, and it"
            " cannot be promoted"
        )
    say(f"released: {published.place}")
    say(f"page: {published.place / 'index.html'}")
