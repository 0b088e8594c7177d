"""Steps that hand out what the release lab made: graphs of whole release lines, without anything that takes
long.
"""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild.engine.steps import Step, gather, step
from imagebuild.model import Image, IsoImage, Kickstart, Release, Tree, Verdict
from imagebuild.pipeline import Pipeline
from tests.release_lab import Line

TREES: dict[str, Tree] = {}
ISOS: dict[str, IsoImage] = {}
IMAGES: dict[str, Image] = {}
VERDICTS: dict[str, Verdict] = {}


def give_tree(out: Path, commit: str) -> Tree:
    """Return a tree in a repository of the store, which is the lab's."""
    repo = out.parents[2] / f"repo-{commit}"
    with contextlib.suppress(FileExistsError):
        repo.symlink_to(TREES[commit].repo)
    return replace(TREES[commit], repo=repo)


def give_iso(out: Path, name: str) -> IsoImage:
    shutil.copyfile(ISOS[name].file, out / name)
    return replace(ISOS[name], file=out / name, treeinfo=out / name)


def give_image(out: Path, name: str) -> Image:
    target = out / name
    shutil.copyfile(IMAGES[name].file, target)
    known = IMAGES[name]
    return Image(
        file=target,
        name=name,
        format=known.format,
        disk_size=known.disk_size,
        size=known.size,
        sha256=known.sha256,
    )


def give_kickstart(out: Path, text: str) -> Kickstart:
    (out / "ks.cfg").write_text(text)
    return Kickstart(file=out / "ks.cfg", syntax="F28")


def give_verdict(out: Path, name: str) -> Verdict:
    shutil.copytree(VERDICTS[name].evidence, out / "evidence")
    return Verdict(cells=VERDICTS[name].cells, evidence=out / "evidence")


def give_release(out: Path, inputs: tuple[object, ...]) -> Release:
    (out / "admitted.json").write_text(str(len(inputs)))
    return Release(manifest=out / "admitted.json")


def wired(line: Line, tree: Tree, before: Tree | None) -> Pipeline:
    """Wire a graph that hands out what the lab made for a tree."""
    made = line.material(tree)
    TREES.update({each.commit: each for each in line.trees})
    images, isos = [], []
    for download in made.downloads:
        if isinstance(download, IsoImage):
            ISOS[download.name] = download
            isos.append(step("iso", give_iso, download.name))
        else:
            IMAGES[download.name] = download
            images.append(step(download.name, give_image, download.name, tools={"qemu-img": "7.2"}))
    verdicts: list[Step[Verdict]] = []
    for place in dict.fromkeys(place for _, place in made.cells):
        name = f"{tree.version} {place.name}"
        VERDICTS[name] = Verdict(
            cells=tuple(cell for cell, where in made.cells if where == place), evidence=place
        )
        verdicts.append(step(name, give_verdict, name))
    pulled = step("pull", give_tree, tree.commit)
    previous = (step("pull previous", give_tree, before.commit),) if before else ()
    # nothing is made with the second one: it is not a step of this graph
    kickstarts = {
        name: step(f"kickstart {name}", give_kickstart, f"{name}\n") for name in ("cloud", "installer")
    }
    everything: list[Step[Any]] = [pulled, *previous, kickstarts["cloud"], *images, *isos, *verdicts]
    return Pipeline(
        tree=pulled,
        previous=previous,
        kickstarts=kickstarts,
        disks={},
        images=tuple(images),
        isos=tuple(isos),
        installations=(),
        inspections=(),
        verdicts=tuple(verdicts),
        release=step("release", give_release, gather(everything)),
    )
