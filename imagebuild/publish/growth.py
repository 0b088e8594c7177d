"""Nothing grows unnoticed: tree, downloads and boot times are compared with the release before, and somebody
answers for what grew.
"""

import fnmatch
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date

from imagebuild.config.publish import GrowthConfig
from imagebuild.config.smoke import WaiverConfig
from imagebuild.publish.facts import DownloadFacts, Facts, megabytes
from imagebuild.smoke.waivers import ARTIFACT_GROWTH, BOOT_GROWTH, TREE_GROWTH, UPDATE_GROWTH

# path of a download -> the firmware it was booted under
Booted = Mapping[str, Set[str]]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One thing that grew by more than its limit: `kind` is what a waiver names as criterion, `waived` who
    answers for it.
    """

    kind: str
    artifact: str
    says: str
    waived: str = ""


def growths(
    new: Facts,
    old: Facts | None,
    limits: GrowthConfig,
    waivers: Sequence[WaiverConfig],
    today: date,
    *,
    booted: Booted,
) -> list[Growth]:
    """Return what grew too much since the release before, waived or not; what was `booted` and not measured
    counts, too.
    """
    if old is None:
        return []
    before = {(download.image, download.format): download for download in old.downloads}
    grown = _larger(TREE_GROWTH, "tree", "the tree", old.tree.size, new.tree.size, limits.tree)
    grown += _larger_update(new, old, limits.update)
    for download in new.downloads:
        last = before.get((download.image, download.format))
        if last is None:
            continue
        name = f"{download.image} {download.format}"
        grown += _larger(ARTIFACT_GROWTH, name, name, last.size, download.size, limits.artifacts)
        grown += _slower(name, new, download, old, last, limits.boot)
        if limits.boot is not None:
            grown += _unmeasured(name, download, last, booted.get(download.path, set()))
    return [_waived(growth, waivers, today) for growth in grown]


def _larger(kind: str, artifact: str, what: str, old: int, new: int, limit: float | None) -> list[Growth]:
    if not _over(old, new, limit):
        return []
    return [Growth(kind=kind, artifact=artifact, says=_says(what, old, new, limit))]


def _larger_update(new: Facts, old: Facts, limit: float | None) -> list[Growth]:
    """Compare what hosts of the release before fetch with what those before them did."""
    mine, theirs = (
        next((update.size for update in facts.updates if not update.ref and not update.name), None)
        for facts in (new, old)
    )
    if mine is None or theirs is None:
        return []
    return _larger(UPDATE_GROWTH, "update", "the update from the release before", theirs, mine, limit)


def _unmeasured(name: str, download: DownloadFacts, last: DownloadFacts, booted: Set[str]) -> list[Growth]:
    """Return the firmwares that a download was booted under, and whose boot time is not known this time."""
    return [
        Growth(
            kind=BOOT_GROWTH,
            artifact=name,
            says=f"how long {name} takes to boot under {firmware} was not measured",
        )
        for firmware in sorted((booted - download.boot.keys()) & last.boot.keys())
    ]


def _slower(
    name: str, new: Facts, download: DownloadFacts, old: Facts, last: DownloadFacts, limit: float | None
) -> list[Growth]:
    """Compare boots as if both had been on the same machine: what was measured is divided by the slowness of
    the accelerator.
    """
    slower = []
    for firmware, seconds in download.boot.items():
        if firmware not in last.boot or new.accelerator != old.accelerator:
            continue
        mine, theirs = seconds / new.slowness, last.boot[firmware] / old.slowness
        if _over(theirs, mine, limit):
            says = (
                f"{name} under {firmware} boots in {mine:.0f} s instead of {theirs:.0f} s (native speed):"
                f" {_percent(theirs, mine)}, more than {limit:g} %"
            )
            slower.append(Growth(kind=BOOT_GROWTH, artifact=name, says=says))
    return slower


def _over(old: float, new: float, limit: float | None) -> bool:
    return limit is not None and old > 0 and new > old * (1 + limit / 100)


def _percent(old: float, new: float) -> str:
    return f"{100 * (new - old) / old:+.1f} %"


def _says(what: str, old: int, new: int, limit: float | None) -> str:
    return (
        f"{what} grew from {megabytes(old)} to {megabytes(new)}: {_percent(old, new)}, more than {limit:g} %"
    )


def _waived(growth: Growth, waivers: Sequence[WaiverConfig], today: date) -> Growth:
    for waiver in waivers:
        if (
            waiver.criterion == growth.kind
            and fnmatch.fnmatchcase(growth.artifact, waiver.artifact)
            and waiver.until >= today
        ):
            return Growth(
                kind=growth.kind,
                artifact=growth.artifact,
                says=growth.says,
                waived=f"{waiver.who}: {waiver.why} (until {waiver.until})",
            )
    return growth
