"""The commands about this machine and its builds: doctor, status, criteria, gc, man."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagebuild.cli import options
from imagebuild.cli.showing import console, say
from imagebuild.errors import BuildError, UsageError

if TYPE_CHECKING:
    from imagebuild.report import history

# columns of a terminal for names and seconds, beside the bars
NAMES = 50


def show_doctor(
    config: Annotated[
        Path | None, typer.Option("--config", help="also look at what this release line needs")
    ] = None,
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what this machine can do, and how to get what is missing. Exit code 1 when something that every
    build needs is missing.
    """
    from rich.text import Text

    from imagebuild.release_line import reading
    from imagebuild.session import doctor

    settings = reading.load(config, store) if config is not None else None
    findings = list(doctor.examine(settings, store, store_remote))
    if as_json:
        rows = [{**asdict(finding), "good": finding.good} for finding in findings]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        for finding in findings:
            grave = not finding.good and finding.needed
            mark, style = ("✗", "red") if grave else ("✓", "green") if finding.good else ("·", "yellow")
            line = Text.assemble((mark, style), f" {finding.what}: {finding.says}")
            console.print(line, soft_wrap=True, highlight=False)
            if finding.fix:
                say(f"    {finding.fix}")
    if any(not finding.good and finding.needed for finding in findings):
        raise typer.Exit(1)


def show_status(
    store: options.Store = options.DEFAULT_STORE,
    last: Annotated[int, typer.Option("--last", min=1, help="how many builds")] = 5,
    as_page: Annotated[Path | None, typer.Option("--html", help="write it as a page, too")] = None,
    as_trace: Annotated[
        Path | None, typer.Option("--trace", help="write it as a Chrome trace, too (Perfetto opens it)")
    ] = None,
    as_json: options.AsJson = False,
    cluster: options.Cluster = None,
    keys: options.Keys = None,
) -> None:
    """Show the last builds, their verdicts, and where the time of the newest went; or what a cluster does
    now.
    """
    if cluster is not None:
        from imagebuild.cli.cluster import show_cluster

        show_cluster(cluster, keys, as_json=as_json)
        return
    from imagebuild import files
    from imagebuild.engine.directory import DirectoryStore
    from imagebuild.report import history

    if not (store / "builds").is_dir():
        raise UsageError(
            f"{store} has no builds", hint="imagebuild all makes some; --store names another store"
        )
    builds = history.builds_of(DirectoryStore(store), last)
    if as_json:
        sys.stdout.write(json.dumps([_row(build) for build in builds], indent=1) + "\n")
    else:
        _show_builds(builds)
    for file, text in ((as_page, history.page(builds)), (as_trace, history.trace(builds))):
        if file is not None:
            files.replace(file, text)
            if not as_json:
                say(f"written: {file}")


def _row(build: "history.RecordedBuild") -> dict[str, Any]:
    return {
        "begun": build.begun.isoformat(),
        "seconds": round(build.seconds, 1),
        "state": build.state,
        "outcome": build.outcome,
        "steps": build.steps,
        "built": build.built,
        "cells": dict(build.cells),
        "spans": [asdict(span) for span in build.spans],
    }


def _show_builds(builds: list["history.RecordedBuild"]) -> None:
    from rich.table import Table
    from rich.text import Text

    from imagebuild.report import history

    table = Table(show_edge=False)
    for heading in ("begun (UTC)", "took", "built", "verdict", "outcome"):
        table.add_column(heading, overflow="fold")
    for build in builds:
        verdict = ", ".join(f"{count} {state}" for state, count in sorted(build.cells.items()))
        table.add_row(
            f"{build.begun:%Y-%m-%d %H:%M:%S}",
            f"{build.seconds:.0f} s",
            f"{build.built} of {build.steps}",
            verdict,
            Text(build.outcome),
        )
    console.print(table)
    for build in builds:
        _show_now(build)
    # the newest that did something
    shown = next((build for build in builds if build.spans), None)
    if shown is None:
        return
    steps = Table(
        title=f"{shown.begun:%Y-%m-%d %H:%M:%S}: where the time went",
        title_justify="left",
        show_edge=False,
        show_header=False,
    )
    for step, bar, seconds in history.bars(shown, max(8, min(history.WIDTH, console.width - NAMES))):
        steps.add_row(Text(step), Text(bar), Text(f"{seconds} s", justify="right"))
    console.print(steps)


def _show_now(build: "history.RecordedBuild") -> None:
    """Say what a build does now: each step that runs, since when, and its log's last line."""
    from imagebuild.cli import progress, showing
    from imagebuild.engine.builds import RUNNING

    if build.state != RUNNING:
        return
    say(f"running since {build.begun:%Y-%m-%d %H:%M:%S} UTC ({build.process})")
    for span in build.spans:
        if span.state == RUNNING:
            text = progress.last_line(build.logs[span.step])
            say(f"  {span.step}, for {showing.duration(span.end - span.begin)}: {text}")


def show_criteria(as_json: options.AsJson = False) -> None:
    """List the release criteria: what `test --criteria` and `waivers:` take, and what each one says."""
    from imagebuild.session.criteria import EVERY_HOST, listed

    criteria = listed()
    if as_json:
        sys.stdout.write(json.dumps([asdict(criterion) for criterion in criteria], indent=1) + "\n")
        return
    group = ""
    for criterion in criteria:
        if criterion.group != group:
            group = criterion.group
            say(f"{group}:")
        where = "" if criterion.applies_to == EVERY_HOST else f" ({criterion.applies_to})"
        say(f"    {criterion.name}: {criterion.about}{where}")


def collect(
    store: options.Store = options.DEFAULT_STORE,
    store_remote: options.StoreRemote = None,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="how many of the newest builds keep their artifacts")
    ] = 3,
    grace: Annotated[
        int,
        typer.Option(
            "--grace", min=2, metavar="DAYS", help="nothing younger goes from a remote store, used or not"
        ),
    ] = 7,
) -> None:
    """Remove artifacts that none of the newest builds used, and what killed or failed builds left, here and
    in temporary directories; and in a remote store, when one is given.
    """
    from imagebuild.session.storage import collect as collect_garbage
    from imagebuild.session.storage import collect_remote

    freed, busy = collect_garbage(store, keep)
    say(f"{freed / 1e6:.1f} MB freed in {store}")
    if store_remote is not None:
        swept = collect_remote(store_remote, keep, grace)
        say(f"{swept.size / 1e6:.1f} MB freed in {store_remote}, {swept.results} artifacts")
    if busy:
        raise BuildError(
            f"{len(busy)} in use by another imagebuild stayed: {', '.join(busy)}",
            hint="run gc again when it has ended",
        )


def show_manual(context: typer.Context) -> None:
    """Print the manual page (imagebuild man > imagebuild.1)."""
    from importlib.metadata import version

    from imagebuild.cli import manual

    root: Any = context.find_root().command
    sys.stdout.write(manual.page_of(root, version("imagebuild")))
