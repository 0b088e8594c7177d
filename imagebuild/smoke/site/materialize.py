"""A site's criteria are put where pytest finds them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from imagebuild.smoke.site.record import SiteCriterion

# nothing of ours is in a directory of that name
DIRECTORY = "criteria-of-the-site"


def materialize(sites: Sequence[SiteCriterion], out: Path) -> list[str | Path]:
    """Write the pytest files of a site below `out`; return what pytest is told to look into."""
    place = out / DIRECTORY
    shutil.rmtree(place, ignore_errors=True)
    modules = [site for site in sites if site.module]
    for site in modules:
        site.write(place)
    runs: list[str | Path] = ["imagebuild.smoke.site"] if any(site.program for site in sites) else []
    return [*runs, place] if modules else runs
