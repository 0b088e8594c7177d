"""What keeps downloads from being signed and promoted: a criterion that fails, or that nobody tested."""

from collections.abc import Mapping, Sequence

from imagebuild.model import Cell
from imagebuild.publish.facts import DownloadFacts
from imagebuild.publish.names import ISO, Download
from imagebuild.release_line.model import Config
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.waivers import FIT, reason_not_to_release
from imagebuild.tools.ostree.repository import Repo


def needs_atomic(repo: Repo, commit: str, kind: str) -> bool:
    """Whether a release must have been tested through `atomic host`, too: its tree says so."""
    return HOSTS[kind].by_atomic is not None and repo.has_atomic(commit)


def unfit_downloads(
    cells: Sequence[Cell],
    config: Config,
    downloads: Mapping[str, Download | DownloadFacts],
    *,
    atomic: bool,
    older: Sequence[str],
) -> list[str]:
    """Return what keeps downloads, by the names they were tested under, from being signed: what does not
    hold, and what nobody tested.

    `atomic`: the tree has that command (`needs_atomic`); `older` releases have a cell each.
    """
    bad = [
        f"{cell.artifact} under {cell.firmware}: {cell.criterion} is {cell.state}"
        for cell in cells
        if cell.state not in FIT
    ]
    for name, download in downloads.items():
        owner = config.installer if download.format == ISO else config.images.get(download.image)
        wanted = criteria.required(
            atomic=atomic, installer=download.format == ISO, older=older, site=config.own_criteria
        )
        says = (
            reason_not_to_release(name, owner.firmware, cells, wanted)
            if owner is not None
            else "the configuration has no such image"
        )
        bad += [f"{name} {says}"] if says and not bad else []
    return bad
