"""Lay tested artifacts out for download: hard links, never copies. Nothing that was not tested gets here."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from imagebuild import criteria
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware, HostKind
from imagebuild.model import Cell, Image, Inspection, IsoImage, Release, Tree, Verdict
from imagebuild.tools.ostree import Repo
from imagebuild.waivers import FIT


def lay_out(
    out: Path,
    tree: Tree,
    images: tuple[Image, ...],
    isos: tuple[IsoImage, ...],
    inspections: tuple[Inspection, ...],
    verdicts: tuple[Verdict, ...],
    required: tuple[tuple[Firmware, ...], ...],
) -> Release:
    """Link every image and its verdict into one directory; `required` are the firmwares of each of `images` and `isos`, in that order.

    Raises BuildError when an image has a hole in its verdict, or was not opened and looked into.
    """
    directory = out / "release"
    directory.mkdir()
    cells = [cell for verdict in verdicts for cell in verdict.cells]
    downloads: tuple[Image | IsoImage, ...] = (*images, *isos)
    # what is asked of a tree is read from the tree
    atomic = tree.host_kind is HostKind.RPM_OSTREE and Repo(tree.repo).read(tree.commit, "usr/bin/atomic") is not None
    wanted = criteria.required(atomic=atomic)
    for image, firmwares in zip(downloads, required, strict=True):
        problem = _problem(image.name, firmwares, cells, (*wanted, *((criteria.INSTALLS,) if isinstance(image, IsoImage) else ())))
        if problem:
            raise BuildError(f"{image.name} is not fit for release: {problem}", hint="a criterion is tested, waived by name, or no release")
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


def _problem(name: str, firmwares: Sequence[Firmware], cells: Sequence[Cell], wanted: Sequence[str]) -> str:
    """Return what keeps an artifact from being released: a cell that is not fit, or one that is not there; empty for nothing."""
    for firmware in firmwares:
        mine = [cell for cell in cells if cell.artifact == name and cell.firmware is firmware]
        bad = [f"{cell.criterion} ({cell.state})" for cell in mine if cell.state not in FIT]
        if bad:
            return f"under {firmware}: {', '.join(bad)}"
        missing = sorted(set(wanted) - {cell.criterion for cell in mine})
        if missing:
            return f"under {firmware} it was not held against {', '.join(missing)}"
    return ""


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for place in sorted(source.iterdir()):
        if place.is_dir() and not place.is_symlink():
            _link_tree(place, target / place.name)
        elif place.is_file():
            os.link(place, target / place.name)
