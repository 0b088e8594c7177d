"""The file of a verdict: a list of cells as JSON, written and read here only.

A cell's `evidence` is a path that is relative to whatever the file lies beside, unless it is absolute.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from imagebuild.errors import BuildError
from imagebuild.model import Cell

FILE = "verdict.json"
_CELLS = TypeAdapter(tuple[Cell, ...])


def write(file: Path, cells: Iterable[Cell]) -> None:
    """Write cells, and the directories that the file lies in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_CELLS.dump_json(tuple(cells), indent=1) + b"\n")


def read(file: Path) -> tuple[Cell, ...]:
    """Read the cells of a file. Raises BuildError when it is missing or is not a verdict."""
    try:
        return _CELLS.validate_json(file.read_bytes())
    except FileNotFoundError as error:
        raise BuildError(f"{file} is missing", hint="it is written when the criteria have run") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BuildError(f"{file} is not a verdict: {key or 'the file'}: {first['msg']}") from error


def at(cell: Cell, directory: Path) -> Cell:
    """Return a cell whose evidence is named from where `directory` is named from."""
    return replace(cell, evidence=str(directory / cell.evidence))
