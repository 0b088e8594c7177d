"""Numbers of releases, taken once and never given again; and who is at work in a directory of releases."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.errors import UsageError
from imagebuild.publish import facts, marks
from imagebuild.publish.facts import Facts
from imagebuild.publish.material import Material
from imagebuild.publish.names import Names, compose_id, names_of

CLAIMS = ".respins"
LOCK = ".lock"


def released_as(
    output: Path, material: Material, *, nightly: bool, day: str | None = None, respin: int | None = None
) -> Facts | None:
    """Return the last release that was made of exactly this already (where they are given: on that day, with
    that number), unless it is bad.
    """
    for known in reversed(marks.unmarked(output, facts.history(output, material.tree.ref))):
        same = (
            known.gate == material.gate
            and known.nightly == nightly
            and known.tree.commit == material.tree.commit
        )
        if same and day in (None, known.date) and respin in (None, known.respin):
            return known
    return None


@contextlib.contextmanager
def at_work(output: Path, *, wait: bool = True) -> Iterator[None]:
    """Be the only one who makes, removes or marks releases of a directory: wait for the others, or raise
    BuildError.
    """
    with files.locked(output / LOCK, busy=f"another imagebuild is at work in {output}", wait=wait):
        yield


def take_names(
    output: Path, material: Material, *, day: str, nightly: bool, respin: int | None = None
) -> Names:
    """Take the next respin number of a day, or a given one. It belongs to what is being released: only a
    rerun of the same gets it again, and only as long as it was not finished.

    Raises UsageError when the given number is taken.
    """
    claims = output / CLAIMS
    claims.mkdir(parents=True, exist_ok=True)
    number = 0 if respin is None else respin
    while True:
        name = compose_id(material.config, day, number, nightly=nightly)
        if not (output / name).exists() and _claim(claims / name, material.gate):
            return names_of(material.config, day, number, nightly=nightly)
        if respin is not None:
            raise UsageError(
                f"{name} is taken",
                hint=f"a respin number is used once; leave --respin out, or look at {output / name}",
            )
        number += 1


def numbers_taken(output: Path) -> list[str]:
    """Return every compose id that was ever given in a directory."""
    return sorted(file.name for file in (output / CLAIMS).iterdir()) if (output / CLAIMS).is_dir() else []


def _claim(file: Path, gate: str) -> bool:
    try:
        files.create(file, gate + "\n")
    except FileExistsError:
        return file.read_text().strip() == gate
    return True
