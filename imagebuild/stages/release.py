"""The gate: only what was tested, looked into and found fit gets past it. What is released is linked from the
store afterwards (publish/).
"""

import json
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.model import Image, Inspection, IsoImage, Release, Tree, Verdict
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.waivers import reason_not_to_release
from imagebuild.tools.ostree.repository import Repo


def admit(
    out: Path,
    tree: Tree,
    images: tuple[Image, ...],
    isos: tuple[IsoImage, ...],
    inspections: tuple[Inspection, ...],
    verdicts: tuple[Verdict, ...],
    required: tuple[tuple[Firmware, ...], ...],
    older: tuple[str, ...] = (),
    site: tuple[str, ...] = (),
) -> Release:
    """Let downloads pass; `required` are the firmwares of each of `images` and `isos`, in that order, `older`
    the releases besides the one before from which hosts must have come (`Terms.older_releases`), `site` the
    names of the site's own criteria.

    Raises BuildError when one has a hole in its verdict, or was not opened and looked into.
    """
    cells = [cell for verdict in verdicts for cell in verdict.cells]
    downloads: tuple[Image | IsoImage, ...] = (*images, *isos)
    # what is asked of a tree is read from the tree
    atomic = HOSTS[tree.host_kind].by_atomic is not None and Repo(tree.repo).has_atomic(tree.commit)
    for image, firmwares in zip(downloads, required, strict=True):
        iso = isinstance(image, IsoImage)
        wanted = criteria.required(atomic=atomic, installer=iso, older=older, site=site)
        problem = reason_not_to_release(image.name, firmwares, cells, wanted)
        if problem is not None:
            raise BuildError(
                f"{image.name} is not fit for release: {problem}",
                hint="every criterion must be tested, or waived by name",
            )
        # an ISO was looked into where it was made
        if isinstance(image, Image) and image.name not in [each.artifact for each in inspections]:
            raise BuildError(f"{image.name} is not fit for release: nobody looked into it")
    admitted = [{"artifact": image.name, "size": image.size, "sha256": image.sha256} for image in downloads]
    file = out / "admitted.json"
    file.write_text(
        json.dumps(
            {"commit": tree.commit, "version": tree.version, "ref": tree.ref, "artifacts": admitted}, indent=1
        )
        + "\n"
    )
    return Release(manifest=file)
