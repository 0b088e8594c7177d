"""Lay tested artifacts out for download: hard links, never copies. Nothing that was not tested gets here."""

import os
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild.errors import BuildError
from imagebuild.kinds import State
from imagebuild.model import Cell, Image, Inspection, IsoImage, Release, Tree, Verdict

# what a released artifact may be found to be
FIT = (State.PASSED, State.WAIVED, State.NOT_APPLICABLE)


def lay_out(
    out: Path,
    tree: Tree,
    images: tuple[Image, ...],
    isos: tuple[IsoImage, ...],
    inspections: tuple[Inspection, ...],
    verdicts: tuple[Verdict, ...],
) -> Release:
    """Link every image and its verdict into one directory.

    Raises BuildError when an image has a hole in its verdict, or was not opened and looked into.
    """
    directory = out / "release"
    directory.mkdir()
    cells = [cell for verdict in verdicts for cell in verdict.cells]
    downloads: tuple[Image | IsoImage, ...] = (*images, *isos)
    for image in downloads:
        mine = [cell for cell in cells if cell.artifact == image.name]
        bad = [cell.criterion for cell in mine if cell.state not in FIT]
        if bad or not mine:
            raise BuildError(f"{image.name} is not fit for release: {', '.join(bad) or 'it was not tested'}")
        # an ISO was looked into where it was made
        if isinstance(image, Image) and image.name not in [each.artifact for each in inspections]:
            raise BuildError(f"{image.name} is not fit for release: nobody looked into it")
        if image.file.stat().st_size != image.size:
            raise BuildError(f"{image.file} has changed its size since it was made: {image.file.stat().st_size}, not {image.size} bytes")
        os.link(image.file, directory / image.name)
    for verdict in verdicts:
        _link_tree(verdict.evidence, directory / "evidence" / f"{verdict.cells[0].artifact}-{verdict.cells[0].firmware}")
    (directory / "verdict.json").write_text(TypeAdapter(list[Cell]).dump_json(cells, indent=1).decode() + "\n")
    (directory / "commit").write_text(f"{tree.commit} {tree.version} {tree.ref}\n")
    return Release(directory=directory)


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file():
            os.link(file, target / file.name)
