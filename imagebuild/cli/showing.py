"""How things are printed: artifacts, criteria, errors."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from imagebuild.errors import BuildError, EvidenceError
from imagebuild.kinds import State
from imagebuild.model import Cell, Image, IsoImage

# paths are printed as they are: what stands in [] is not markup
console = Console(markup=False)
complaints = Console(stderr=True, markup=False)

STYLES = {
    State.PASSED: "green",
    State.WAIVED: "yellow",
    State.FLAKY: "yellow",
    State.NOT_TESTED: "yellow",
    State.NOT_APPLICABLE: "dim",
    State.FAILED: "red",
    State.ERROR: "magenta",
}


def say(line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def duration(seconds: float) -> str:
    """Return seconds as people say them: 3.2 s, 4:05."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def show_artifacts(console: Console, images: Sequence[tuple[Image | IsoImage, Path]]) -> None:
    """Print the downloads: where, how large, which hash."""
    if not images:
        return
    table = Table(title="Artifacts", title_justify="left", show_edge=False)
    for heading in ("path", "size", "sha256"):
        table.add_column(heading, overflow="fold")
    for image, path in images:
        table.add_row(str(path), f"{image.size / 1e6:.1f} MB", image.sha256)
    console.print(table)


def show_criteria(console: Console, cells: Sequence[tuple[Cell, Path]]) -> None:
    """Print the matrix: a row per criterion and artifact, a column per firmware; then the reason of whatever
    did not pass.
    """
    if not cells:
        return
    firmwares = sorted({cell.firmware for cell, _ in cells})
    table = Table(title="Release criteria", title_justify="left", show_edge=False)
    for heading in ("artifact", "criterion", *firmwares):
        table.add_column(heading, overflow="fold")
    by_place = {(cell.artifact, cell.criterion, cell.firmware): cell for cell, _ in cells}
    for artifact, criterion in dict.fromkeys((cell.artifact, cell.criterion) for cell, _ in cells):
        row = [by_place.get((artifact, criterion, firmware)) for firmware in firmwares]
        table.add_row(artifact, criterion, *[_state(cell) for cell in row])
    console.print(table)
    for cell, place in cells:
        if cell.state not in (State.PASSED, State.NOT_APPLICABLE):
            console.print(
                Text(
                    f"{cell.artifact}, {cell.firmware}: {cell.criterion}: {cell.state}: {cell.reason}",
                    style=STYLES[cell.state],
                )
            )
            console.print(f"  evidence: {place / cell.evidence}", highlight=False, soft_wrap=True)
    for place in dict.fromkeys(place for _, place in cells):
        console.print(f"evidence: {place}", highlight=False, soft_wrap=True)


def _state(cell: Cell | None) -> Text:
    return Text(cell.state, style=STYLES[cell.state]) if cell else Text("not run", style="yellow")


def show_error(console: Console, error: BuildError, *, where: str = "") -> None:
    """Print an error: what happened, what to do next, where to read more."""
    console.print(
        Text(f"imagebuild: {where + ': ' if where else ''}{error.message}", style="red"), soft_wrap=True
    )
    if error.hint:
        console.print(Text(f"  try: {error.hint}"), soft_wrap=True)
    if error.log is not None:
        console.print(Text(f"  log: {error.log}"), soft_wrap=True)
    if isinstance(error, EvidenceError) and error.evidence is not None:
        console.print(Text(f"  see: {error.evidence}"), soft_wrap=True)
