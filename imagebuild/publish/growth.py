"""Nothing grows unnoticed: tree, downloads and boot times are held against the release before, and somebody
answers for what grew.
"""

import fnmatch
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date

from imagebuild.config.publish import GrowthConfig
from imagebuild.config.smoke import WaiverConfig
from imagebuild.publish.facts import DownloadFacts, Facts, megabytes
from imagebuild.smoke.waivers import ARTIFACT_GROWTH, BOOT_GROWTH, TREE_GROWTH

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
    is held, too.
    """
    if old is None:
        return []
    found = []
    if _over(old.tree.size, new.tree.size, limits.tree):
        found.append(
            Growth(
                kind=TREE_GROWTH,
                artifact="tree",
                says=_says("the tree", old.tree.size, new.tree.size, limits.tree),
            )
        )
    before = {(each.image, each.format): each for each in old.downloads}
    for download in new.downloads:
        last = before.get((download.image, download.format))
        if last is None:
            continue
        name = f"{download.image} {download.format}"
        if _over(last.size, download.size, limits.artifacts):
            found.append(
                Growth(
                    kind=ARTIFACT_GROWTH,
                    artifact=name,
                    says=_says(name, last.size, download.size, limits.artifacts),
                )
            )
        found += _slower(name, new, download, old, last, limits.boot)
        unmeasured = sorted((booted.get(download.path, set()) - download.boot.keys()) & last.boot.keys())
        if limits.boot is not None:
            found += [
                Growth(
                    kind=BOOT_GROWTH,
                    artifact=name,
                    says=f"how long {name} takes to boot under {each} was not measured",
                )
                for each in unmeasured
            ]
    return [_waived(each, waivers, today) for each in found]


def _slower(
    name: str, new: Facts, download: DownloadFacts, old: Facts, last: DownloadFacts, limit: float | None
) -> list[Growth]:
    """Compare boots as if both had been on the same machine: what was measured is divided by the slowness of
    the accelerator.
    """
    found = []
    for firmware, seconds in download.boot.items():
        if firmware not in last.boot or new.accelerator != old.accelerator:
            continue
        mine, theirs = seconds / new.slowness, last.boot[firmware] / old.slowness
        if _over(theirs, mine, limit):
            says = (
                f"{name} under {firmware} boots in {mine:.0f} s instead of {theirs:.0f} s (native speed):"
                f" {_percent(theirs, mine)}, more than {limit:g} %"
            )
            found.append(Growth(kind=BOOT_GROWTH, artifact=name, says=says))
    return found


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
