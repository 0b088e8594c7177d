"""The commands that build: all, release, compose, kickstart, config."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from imagebuild.cli import ending, options
from imagebuild.cli.showing import complaints, console, say, show_artifacts, show_criteria, show_error
from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware

if TYPE_CHECKING:
    from imagebuild.session.build import Build, PlannedStep, Result
    from imagebuild.session.releases import Published, Wish

Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, help="steps at the same time, besides background steps; 1: one step at a time"
    ),
]
Plan = Annotated[bool, typer.Option("--plan", help="say what would be built, and why, and stop")]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", help="directory of verdict.json, junit.xml and report.html; default: --output"),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="build and test only this format (qcow2, iso, …); nothing is released"),
]
OnlyUnder = Annotated[
    Firmware | None, typer.Option("--firmware", help="test only under this firmware; nothing is released")
]
Events = Annotated[
    Path | None,
    typer.Option("--events", help="write the build's events to this file as JSON lines; -: standard output"),
]


def build_all(
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    output: options.Output = options.DEFAULT_OUTPUT,
    jobs: Jobs = max(2, os.cpu_count() or 2),
    populate: options.Populate = None,
    plan: Plan = False,
    nightly: options.Nightly = False,
    force: options.Force = False,
    date: options.Date = None,
    respin: options.Respin = None,
    reports: Reports = None,
    only: Only = None,
    firmware: OnlyUnder = None,
    events: Events = None,
    cluster: options.Cluster = None,
    keys: options.Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the plan as JSON (with --plan)")] = False,
) -> None:
    """Build and test everything of a ref, and release it."""
    from imagebuild.session.build import Order, prepare
    from imagebuild.session.clusters import ClusterOrder
    from imagebuild.session.releases import Wish, composed_before

    if as_json and not plan:
        raise UsageError("--json is for --plan", hint="--events writes what a build does as JSON lines")
    wish = Wish(output=output, day=date, respin=respin, nightly=nightly, again=force)
    order = Order(
        ref=ref,
        config=config,
        store=store,
        store_remote=store_remote,
        output=output,
        populate=populate,
        only=tuple(only or ()),
        firmware=firmware,
        cluster=ClusterOrder(address=cluster, keys=keys, say=_complain) if cluster else None,
    )
    build = prepare(order, say=say if not as_json else _complain)
    if plan:
        _show_plan(build.plan(), build.remarks, _places(build), as_json=as_json)
        return
    for line in build.remarks:
        say(line)
    if nightly and not force:
        before = composed_before(build.config, output, build.ref, build.commit)
        if before is not None:
            say(
                f"nothing to do: {build.commit} was composed already, as {before} (--force composes it again)"
            )
            return
    build.check()
    _say_what_comes(build.plan())
    _run(build, wish, jobs, reports or output, events)


def _complain(line: str) -> None:
    complaints.print(line, highlight=False, soft_wrap=True)


def _places(build: "Build") -> dict[str, str]:
    """Return where each step that is to be built could run on a cluster; nothing without one."""
    from imagebuild.session import clusters

    if build.order.cluster is None:
        return {}
    todo = [planned.step for planned in build.planned if planned.todo]
    return clusters.places_of(build.order.cluster, todo, build.store)


def _show_plan(
    plan: list["PlannedStep"], remarks: tuple[str, ...], places: dict[str, str], *, as_json: bool
) -> None:
    if as_json:
        rows = [
            {
                "step": step.name,
                "build": step.todo,
                "reason": step.reason,
                "usual_seconds": step.usual_seconds,
            }
            | ({"where": places[step.name]} if step.name in places else {})
            for step in plan
        ]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for line in remarks:
        say(line)
    for step in plan:
        where = f" (on {places[step.name]})" if step.name in places else ""
        say(f"{'build' if step.todo else 'keep '}  {step.name}: {step.reason}{where}")


def _say_what_comes(plan: list["PlannedStep"]) -> None:
    """Say how much is to be built, and how long that took the last time on this machine."""
    todo = [step for step in plan if step.todo]
    timed = [step.usual_seconds for step in todo if step.usual_seconds is not None]
    line = f"{len(todo)} of {len(plan)} steps are to be built"
    if timed:
        rest = f" ({len(todo) - len(timed)} were never built here)" if len(timed) < len(todo) else ""
        line += f"; one after the other they took {sum(timed) / 60:.0f} minutes the last time{rest}"
    say(line)


def _run(build: "Build", wish: "Wish", jobs: int, reports: Path, events: Path | None) -> None:
    """Build, show, report, release. Raises typer.Exit with 1 (a step failed) or 3 (only criteria failed)."""
    from imagebuild.cli.progress import showing
    from imagebuild.session.events import EventStream, Listeners
    from imagebuild.session.outcome import write_reports

    with _stream(events) as stream, showing(console) as view:
        ending.watch(view)
        view.expect([planned.step.name for planned in build.planned])
        written = [EventStream(stream)] if stream is not None else []
        view.heard = [event.progress for event in written]
        result = build.run(Listeners([view, *written]), jobs=jobs, interrupted=ending.end_everything)
    tree = result.tree
    title = f"{tree.pretty_name}: {tree.version}" if tree is not None else "Release criteria"
    write_reports(reports, title, result.cells)
    _show(result)
    if result.failed:
        raise typer.Exit(3 if result.only_criteria_failed else 1)
    if build.order.partial:
        say(f"report: {reports / 'report.html'}; a part of a release line is not released")
        return
    _say_released(build.release(result, wish))


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


def _show(result: "Result") -> None:
    show_artifacts(console, [(image, image.file) for image in result.downloads])
    show_criteria(console, result.cells)
    for name, error in result.failed.items():
        show_error(complaints, error, where=name)
    for name, because in result.not_started.items():
        _complain(f"imagebuild: {name} was not started, because {because} failed")


def _say_released(published: "Published") -> None:
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


def release(
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    output: options.Output = options.DEFAULT_OUTPUT,
    populate: options.Populate = None,
    nightly: options.Nightly = False,
    date: options.Date = None,
    respin: options.Respin = None,
) -> None:
    """Release what was built and tested before; nothing is built, and nothing untested is signed."""
    from imagebuild.session.build import Order, prepare
    from imagebuild.session.outcome import write_reports
    from imagebuild.session.releases import Wish

    wish = Wish(output=output, day=date, respin=respin, nightly=nightly)
    order = Order(
        ref=ref, config=config, store=store, store_remote=store_remote, output=output, populate=populate
    )
    build = prepare(order, say=say)
    result, published = build.release_finished(wish)
    tree = result.tree
    title = f"{tree.pretty_name}: {tree.version}" if tree is not None else "Release criteria"
    write_reports(output, title, result.cells)
    _show(result)
    _say_released(published)


def compose(
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="ask the package mirror again even if the cache is younger than a day"
        ),
    ] = False,
) -> None:
    """Make the next commit of a ref, if anything changed (lines without `compose` pull theirs)."""
    from imagebuild.session import lines

    settings, chosen = lines.load(ref, config, store)
    with console.status(f"composing {chosen}") as status:
        composed = lines.compose(
            settings,
            chosen,
            store,
            refresh=refresh,
            begins=lambda log: status.update(f"composing {chosen} (log: {log})"),
        )
    state = "new commit" if composed.new else "unchanged"
    say(f"{composed.ref}: {state} {composed.commit}, version {composed.version}")


def kickstart(
    variant: Annotated[str, typer.Option("--variant", help="cloud, vagrant or installer")] = "cloud",
    ref: options.Ref = None,
    config: options.Config = None,
    store: options.Store = options.DEFAULT_STORE,
) -> None:
    """Print the kickstart of a variant, with its values filled in."""
    from imagebuild.session import lines

    settings, chosen = lines.load(ref, config, store)
    sys.stdout.write(lines.kickstart_text(settings, chosen, variant))


def check_config(
    file: Annotated[Path | None, typer.Argument(help="configuration to check")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema of configurations")] = False,
    store: options.Store = options.DEFAULT_STORE,
) -> None:
    """Check a configuration, or print the schema that editors use."""
    from imagebuild.release_line import model, reading

    if schema:
        sys.stdout.write(model.schema())
    elif file is not None:
        settings = reading.load(file, store)
        say(f"{file}: no errors; it builds {', '.join(settings.refs)}")
    else:
        raise UsageError("there is nothing to check", hint="give a FILE, or --schema")
