"""Waivers: somebody answers for a criterion that does not hold, with a reason and until a day. An expired one
fails.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import replace

from imagebuild.kinds import Firmware, State
from imagebuild.model import Cell, Waiver

# what a released artifact may be found to be
FIT = (State.PASSED, State.WAIVED, State.NOT_APPLICABLE)
# the criterion with a cell for each release that hosts have slept
SLEPT = "upgrades-from-an-older-release"
# what is waived of a release as a whole, not of a guest
TREE_GROWTH, ARTIFACT_GROWTH, BOOT_GROWTH, UPDATE_GROWTH = GROWTH = (
    "tree-growth", "artifact-growth", "boot-growth", "update-growth",
)  # fmt: skip
VULNERABILITY = "vulnerability"
OF_RELEASES = (*GROWTH, VULNERABILITY)


def waived(cell: Cell, waivers: Sequence[Waiver]) -> Cell:
    """Return a cell as the waivers have it: *waived* with who, why and until when; an expired waiver changes
    nothing but the reason.
    """
    if cell.state in FIT:
        return cell
    for waiver in waivers:
        if not _is_for(waiver, cell):
            continue
        said = f"{waiver.who}: {waiver.why} (until {waiver.until}); it is {cell.state}: {cell.reason}"
        if not waiver.expired:
            return replace(cell, state=State.WAIVED, found=cell.state, reason=f"waived by {said}")
        cell = replace(
            cell, reason=f"{cell.reason}; the waiver by {waiver.who} has expired on {waiver.until}"
        )
    return cell


def _is_for(waiver: Waiver, cell: Cell) -> bool:
    return (
        # whoever answers for a criterion answers for each of its cells
        waiver.criterion in (cell.criterion, _whole(cell.criterion))
        and fnmatch.fnmatchcase(cell.artifact, waiver.artifact)
        and waiver.firmware in (None, cell.firmware)
    )


def _whole(cell: str) -> str:
    """Return the criterion of a cell that is one of several (`Criterion.cells`)."""
    return SLEPT if cell.startswith(f"{SLEPT}-") else cell


def reason_not_to_release(
    name: str, firmwares: Sequence[Firmware], cells: Sequence[Cell], wanted: Sequence[str]
) -> str | None:
    """Return what keeps an artifact from being released: a cell that is not fit, or one of the `wanted` that
    is not there; None for nothing.
    """
    for firmware in firmwares:
        mine = [cell for cell in cells if cell.artifact == name and cell.firmware is firmware]
        bad = [f"{cell.criterion} ({cell.state})" for cell in mine if cell.state not in FIT]
        if bad:
            return f"under {firmware}: {', '.join(bad)}"
        missing = sorted(set(wanted) - {cell.criterion for cell in mine})
        if missing:
            return f"under {firmware} it was not tested for {', '.join(missing)}"
    return None
