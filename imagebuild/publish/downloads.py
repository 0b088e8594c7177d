"""What was tested, linked under the names that it is published by: downloads and evidence."""

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.formats.registry import FILE_KINDS
from imagebuild.model import Cell, Image, IsoImage
from imagebuild.publish.cleaning import Cleaner
from imagebuild.publish.material import Material
from imagebuild.publish.names import ISO, Download, Names
from imagebuild.tools.checksum import hashed, safe


def pairs_of(material: Material, names: Names) -> list[tuple[Download, Image | IsoImage]]:
    """Return each published download and what the store has for it. Raises BuildError when one is missing, or
    there are more.
    """
    pairs = [(download, _of(material, download)) for download in names.downloads]
    missing = [download.path for download, image in pairs if image is None]
    if missing or len(pairs) != len(material.downloads):
        raise BuildError(
            "the downloads are not those that the configuration names: missing"
            f" {', '.join(missing) or '(none)'}"
        )
    return [(download, image) for download, image in pairs if image is not None]


def place_downloads(work: Path, pairs: Sequence[tuple[Download, Image | IsoImage]]) -> dict[str, str]:
    """Link every download to its published name, and read it once against what was recorded. Returns path ->
    name in the store.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(lambda pair: _place(work, *pair), pairs))
    return {download.path: image.name for download, image in pairs}


def _of(material: Material, download: Download) -> Image | IsoImage | None:
    """Return what the store has for a published name."""
    for image in material.downloads:
        if isinstance(image, IsoImage):
            if download.format == ISO:
                return image
        elif image.format == download.format and image.name == _store_name(material, download):
            return image
    return None


def _store_name(material: Material, download: Download) -> str:
    if download.format == ISO:
        return ""
    name, tree = material.config.images[download.image].name, material.tree
    return f"{name}-{tree.version}.{tree.arch}.{FILE_KINDS[download.format].suffix}"


def _place(work: Path, download: Download, image: Image | IsoImage) -> None:
    entry = hashed(image.file, download.path)
    if (entry.size, entry.sha256) != (image.size, image.sha256):
        raise BuildError(
            f"{image.file} is no longer what was tested: its SHA-256 is {entry.sha256}, not {image.sha256}",
            hint="remove its directory in the store; imagebuild all makes and tests it again",
        )
    target = work / download.path
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(image.file, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError as error:
        # never written over: it may be a link into the store
        raise BuildError(
            f"{target.name} is there twice in {target.parent}",
            hint="two files of the evidence have nearly the same name",
        ) from error
    except OSError:  # another file system
        shutil.copyfile(source, target)


def place_evidence(
    work: Path, material: Material, names: Mapping[str, str], directory: str, cleaner: Cleaner
) -> list[tuple[Cell, Path]]:
    """Link the evidence of every cell below a directory of the release, under the names that the downloads
    have now; what tells of the build machine is a cleaned copy.
    """
    placed: dict[tuple[str, str, Path], Path] = {}
    cells = []
    for cell, evidence in material.cells:
        artifact = names.get(cell.artifact, cell.artifact)
        key = (artifact, str(cell.firmware), evidence)
        if key not in placed:
            placed[key] = work / directory / safe(f"{artifact}-{cell.firmware}")
            _link_tree(evidence, placed[key], cleaner)
        told = replace(cell, artifact=artifact, reason=cleaner.text(cell.reason))
        cells.append((told, placed[key]))
    return cells


def _link_tree(source: Path, target: Path, cleaner: Cleaner) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _link_tree(entry, target / safe(entry.name), cleaner)
        elif entry.is_file() and not entry.is_symlink():
            cleaned, place = cleaner.file(entry), target / safe(entry.name)
            if cleaned is None or place.exists():
                _link(entry, place)
            else:
                place.write_bytes(cleaned)
