"""The matrix of a verdict: downloads and firmwares across, criteria down, grouped by what they are about.

Both the report and the page of a release show it (templates/matrix.html.j2).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.report.columns import short_names
from imagebuild.report.groups import ORDER, group_of

# what a narrow cell says; `passed` is a mark
WORDS = {State.PASSED: "✓", State.NOT_APPLICABLE: "n/a"}
BY_IDENTITY = "by identity"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One artifact, by its short name, and the firmwares it was tested under."""

    artifact: str
    name: str
    firmwares: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MatrixCell:
    """A cell as it is shown: `label` is for those who cannot see the mark, `href` (which may be empty) leads
    to the evidence; `first` of its column.
    """

    state: str
    text: str
    label: str
    href: str
    carried: bool
    first: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One criterion; None where it was not tested at all."""

    criterion: str
    cells: tuple[MatrixCell | None, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """`groups` maps what criteria are about to their rows; `counts` are in the order of `State`; `once` are
    sentences about disks that were booted once for several downloads.
    """

    columns: tuple[Column, ...]
    groups: Mapping[str, tuple[Row, ...]]
    counts: tuple[tuple[str, int], ...]
    once: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many columns of cells there are."""
        return sum(len(column.firmwares) for column in self.columns)


def arrange(cells: Sequence[Cell], address: Callable[[Cell], str]) -> Matrix:
    """Return the matrix of some cells; `address` is where a cell's link leads, empty for no link."""
    columns = _columns(cells)
    by_place = {(cell.criterion, cell.artifact, str(cell.firmware)): cell for cell in cells}
    groups: dict[str, list[Row]] = {}
    for criterion in dict.fromkeys(cell.criterion for cell in cells):
        shown = tuple(
            _shown(by_place.get((criterion, column.artifact, firmware)), address, first=number == 0)
            for column in columns
            for number, firmware in enumerate(column.firmwares)
        )
        row = Row(criterion=criterion.replace("-", " "), cells=shown)
        groups.setdefault(group_of(criterion), []).append(row)
    in_order = sorted(groups, key=lambda group: (ORDER.index(group) if group in ORDER else len(ORDER), group))
    states = Counter(cell.state for cell in cells)
    return Matrix(
        columns=columns,
        groups={group: tuple(groups[group]) for group in in_order},
        counts=tuple((str(state), states[state]) for state in State if states[state]),
        once=_booted_once(cells, columns),
    )


def _booted_once(cells: Sequence[Cell], columns: Sequence[Column]) -> tuple[str, ...]:
    """Return what says which downloads were not booted themselves, and which disk was."""
    names = {column.artifact: column.name for column in columns}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for cell in cells:
        if cell.same_as:
            found.setdefault((cell.artifact, cell.same_as), {})[str(cell.firmware)] = None
    return tuple(
        f"{names[artifact]} ({', '.join(firmwares)}): the same disk as {names.get(same, same)} on the same"
        " controller and firmware, byte by byte; it was booted once for both"
        for (artifact, same), firmwares in found.items()
    )


def _columns(cells: Sequence[Cell]) -> tuple[Column, ...]:
    names = short_names(dict.fromkeys(cell.artifact for cell in cells))
    firmwares = {
        artifact: sorted({str(cell.firmware) for cell in cells if cell.artifact == artifact})
        for artifact in names
    }
    return tuple(
        Column(artifact=artifact, name=name, firmwares=tuple(firmwares[artifact]))
        for artifact, name in names.items()
    )


def _shown(cell: Cell | None, address: Callable[[Cell], str], *, first: bool) -> MatrixCell | None:
    if cell is None:
        return None
    label = f"{cell.state} {BY_IDENTITY}" if cell.carried else str(cell.state)
    return MatrixCell(
        state=str(cell.state),
        text=WORDS.get(cell.state, str(cell.state)),
        label=f"{label}: {cell.reason}" if cell.reason else label,
        href=address(cell),
        carried=cell.carried,
        first=first,
    )
