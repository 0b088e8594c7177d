"""Layouts of stores are told apart by the number in the file `layout`; a store of imagebuild 0.1 has no such
file.

An older store is used as it lies there: what has the key of a step is valid, whoever made it. It gets our
number when a build first writes into it. A newer one is refused before anything in it is changed.
"""

from pathlib import Path

from imagebuild import files
from imagebuild.errors import UsageError

LAYOUT = 2
_FIRST = 1
_NAME = "layout"


def layout_of(root: Path) -> int:
    """Return the layout of the store at `root`, ours where nothing is in it yet. Raises UsageError when it is
    newer, or not a number.
    """
    try:
        text = (root / _NAME).read_text().strip()
    except FileNotFoundError:
        used = any(any((root / name).glob("*")) for name in ("artifacts", "builds"))
        return _FIRST if used else LAYOUT
    except (OSError, UnicodeDecodeError) as error:
        raise _unknown(root, str(error)) from error
    if not (text.isascii() and text.isdecimal() and int(text) >= _FIRST):
        raise _unknown(root, f"{text[:20]!r} is not the number of a layout")
    if int(text) > LAYOUT:
        raise UsageError(
            f"the store {root} has layout {int(text)}, and this imagebuild knows layouts up to {LAYOUT}:"
            " nothing in it was changed",
            hint="use the newer imagebuild that made it, or another store (--store)",
        )
    return int(text)


def _unknown(root: Path, why: str) -> UsageError:
    return UsageError(
        f"the layout of the store {root} is not known: {root / _NAME}: {why}",
        hint=f"write {LAYOUT} into it if this imagebuild made the store; or use another store (--store)",
    )


def write_layout(root: Path) -> None:
    """Give the store at `root` our layout's number."""
    files.replace(root / _NAME, f"{LAYOUT}\n")


def remark_on(root: Path, layout: int) -> str | None:
    """Return what a person wants to know of a store with an older layout; None for one with ours."""
    if layout == LAYOUT:
        return None
    return (
        f"the store {root} has the layout of an older imagebuild ({layout}, now {LAYOUT}):"
        " nothing in it is lost; pulled commits, and artifacts whose inputs are the same, are used,"
        " the others are made again (imagebuild gc frees the old ones)"
    )
