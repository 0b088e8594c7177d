"""The commands about this host and its builds: doctor, status, man."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagebuild import files
from imagebuild.cli import manual, progress
from imagebuild.engine.builds import RUNNING
from imagebuild.engine.store import Store
from imagebuild.errors import UsageError
from imagebuild.release_line import reading as configuration
from imagebuild.report import history as build_history
from imagebuild.session import doctor

StoreOption = Annotated[
    Path, typer.Option("--store", help="directory of finished artifacts and pulled commits")
]

# columns of a terminal for names and seconds, beside the bars
NAMES = 50


def show_doctor(
    config: Annotated[
        Path | None, typer.Option("--config", help="also look at what this release line needs")
    ] = None,
    store: StoreOption = Path("build/store"),
) -> None:
    """Say what this host can do, and what mends what it cannot. Exit code 1 when something is missing that
    every build needs.
    """
    settings = configuration.load(config, store) if config is not None else None
    bad = False
    console = Console()
    for finding in doctor.examine(settings, store):
        grave = not finding.good and finding.needed
        bad = bad or grave
        mark = "[red]✗[/]" if grave else "[green]✓[/]" if finding.good else "[yellow]·[/]"
        console.print(
            f"{mark} ", Text(f"{finding.what}: {finding.says}"), sep="", soft_wrap=True, highlight=False
        )
        if finding.fix:
            console.print(Text(f"    {finding.fix}"), soft_wrap=True, highlight=False)
    if bad:
        raise typer.Exit(1)


def show_status(
    store: StoreOption = Path("build/store"),
    last: Annotated[int, typer.Option("--last", min=1, help="how many builds")] = 5,
    as_page: Annotated[Path | None, typer.Option("--html", help="write it as a page, too")] = None,
    as_trace: Annotated[
        Path | None, typer.Option("--trace", help="write it as a Chrome trace, too (Perfetto opens it)")
    ] = None,
) -> None:
    """Show the last builds, their verdicts, and where the time of the newest went."""
    if not (store / "builds").is_dir():
        raise UsageError(f"{store} is no store", hint="imagebuild all makes one")
    console, found = Console(), build_history.builds_of(Store(store), last)
    table = Table(show_edge=False)
    for heading in ("begun (UTC)", "took", "built", "verdict", "outcome"):
        table.add_column(heading, overflow="fold")
    for build in found:
        verdict = ", ".join(f"{count} {state}" for state, count in sorted(build.cells.items()))
        table.add_row(
            f"{build.begun:%Y-%m-%d %H:%M:%S}",
            f"{build.seconds:.0f} s",
            f"{build.built} of {build.steps}",
            verdict,
            Text(build.outcome),
        )
    console.print(table)
    for build in found:
        _show_now(console, build)
    # the newest that did something
    shown = next((build for build in found if build.spans), None)
    if shown is not None:
        steps = Table(
            title=f"{shown.begun:%Y-%m-%d %H:%M:%S}: where the time went",
            title_justify="left",
            show_edge=False,
            show_header=False,
        )
        for step, bar, seconds in build_history.bars(
            shown, max(8, min(build_history.WIDTH, console.width - NAMES))
        ):
            steps.add_row(Text(step), Text(bar), Text(f"{seconds} s", justify="right"))
        console.print(steps)
    for file, text in ((as_page, build_history.page(found)), (as_trace, build_history.trace(found))):
        if file is not None:
            files.replace(file, text)
            console.print(f"written: {file}", highlight=False, soft_wrap=True)


def _show_now(console: Console, build: build_history.Build) -> None:
    """Say what a build does now: each step that runs, since when, and its log's last line."""
    if build.state != RUNNING:
        return
    console.print(
        Text(f"running since {build.begun:%Y-%m-%d %H:%M:%S} UTC ({build.process})"), soft_wrap=True
    )
    for span in build.spans:
        if span.state == RUNNING:
            said = progress.last_line(build.logs[span.step])
            console.print(
                Text(f"  {span.step}, for {progress.duration(span.end - span.begin)}: {said}"), soft_wrap=True
            )


def show_manual(context: typer.Context) -> None:
    """Print the manual page (imagebuild man > imagebuild.1)."""
    root: Any = context.find_root().command
    sys.stdout.write(manual.page_of(root, version("imagebuild")))
