"""From a finished graph to a release: what the command line does last, with steps that hand out what the lab made."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from imagebuild import graph
from imagebuild.cli_publish import Wish, nothing_new, publish
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.model import Image, IsoImage, Kickstart, Release, Tree, Verdict
from imagebuild.pipeline import Host, Pipeline
from imagebuild.publish import facts
from imagebuild.publish.material import material_of
from imagebuild.stages.tree import Before, Pin
from imagebuild.steps import Cost, Step, gather, step
from imagebuild.store import Store
from imagebuild.tools.accelerator import Accelerator
from tests.release_lab import FIRST, REF, SECOND, Line
from tests.test_cli_host import Silent

BUDGET = Cost(cores=2, memory=1 << 30)
TREES: dict[str, Tree] = {}
ISOS: dict[str, IsoImage] = {}
IMAGES: dict[str, Image] = {}
VERDICTS: dict[str, Verdict] = {}


def give_tree(out: Path, commit: str) -> Tree:
    del out
    return TREES[commit]


def give_iso(out: Path, name: str) -> IsoImage:
    del out
    return ISOS[name]


def give_image(out: Path, name: str) -> Image:
    target = out / name
    shutil.copyfile(IMAGES[name].file, target)
    known = IMAGES[name]
    return Image(file=target, name=name, format=known.format, disk_size=known.disk_size, size=known.size, sha256=known.sha256)


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
        VERDICTS[name] = Verdict(cells=tuple(cell for cell, where in made.cells if where == place), evidence=place)
        verdicts.append(step(name, give_verdict, name))
    pulled = step("pull", give_tree, tree.commit)
    previous = (step("pull previous", give_tree, before.commit),) if before else ()
    # nothing is made with the second one: it is no step of this graph
    kickstarts = {name: step(f"kickstart {name}", give_kickstart, f"{name}\n") for name in ("cloud", "installer")}
    everything: list[Step[Any]] = [pulled, *previous, kickstarts["cloud"], *images, *isos, *verdicts]
    return Pipeline(
        tree=pulled, previous=previous, kickstarts=kickstarts, disks={}, images=tuple(images), isos=tuple(isos), installations=(),
        inspections=(), verdicts=tuple(verdicts), release=step("release", give_release, gather(everything)),
    )  # fmt: skip


def build(line: Line, tree: Tree, before: Tree | None, *, nightly: bool = False, day: str = "20261126") -> Path:
    pipeline, store = wired(line, tree, before), Store(line.place / "store")
    with ThreadPoolExecutor(2) as executor:
        outcome = graph.build([pipeline.release], store, executor, budget=BUDGET, listener=Silent())
    assert not outcome.failed, outcome.failed
    host = Host(repo=line.repo.path, populate=("native",), accelerator=Accelerator(name="tcg", slowness=3.0, reason="x"))
    known = Before(pin=Pin(ref=REF, commit=before.commit)) if before else Before(pin=None, why_not="the first", first=True)
    material = material_of(line.config, pipeline, outcome, host, known, 1_790_000_000 + line.trees.index(tree))
    with Path(os.devnull).open("w") as nowhere:
        return publish(material, Wish(output=line.output, day=day, respin=None, nightly=nightly), Console(file=nowhere))


def test_a_graph_becomes_a_release_once(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    first, second = line.commit("12.1", FIRST), line.commit("12.2", SECOND)
    one = build(line, first, None)
    assert build(line, first, None) == one
    other = build(line, second, first)
    assert (one.name, other.name) == ("Debian-Atomic-12-20261126.0", "Debian-Atomic-12-20261126.1")
    known = facts.read(other)
    assert known.previous is not None
    assert known.previous.commit == first.commit
    assert known.downloads[1].boot == {str(firmware): 60.0 for firmware in Firmware}
    provenance = (other / "metadata" / "provenance.json").read_text()
    assert '"qemu-img": "7.2"' in provenance
    assert "kickstart:cloud" in provenance
    assert "kickstart:installer" not in provenance
    # the same, as a nightly: another kind of compose, of the same artifacts
    nightly = build(line, second, first, nightly=True)
    assert nightly.name == "Debian-12-20261126.n.0"
    console = Console(record=True, width=200)
    assert nothing_new(line.output, REF, second.commit, console)
    assert "was composed already" in console.export_text()
    assert not nothing_new(line.output, REF, "f" * 64, console)


def test_a_missing_key_is_said_before_anything_is_made(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    line.changes["publish"] = {"signing": {"user": "nobody@example.org", "homedir": str(tmp_path / "empty")}}
    first = line.commit("12.1", FIRST)
    with pytest.raises(BuildError, match=r"no secret key of nobody@example\.org"):
        build(line, first, None)
    assert not line.output.exists()
