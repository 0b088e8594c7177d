"""Two machines and a remote store: what one has made of the demo tree the other one uses to build on, without
a way to where the commit came from. No guest is booted.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagebuild import files
from imagebuild.engine import graph
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Step, key_of, kind_of
from imagebuild.engine.store import Store
from imagebuild.model import Image
from imagebuild.pipeline import Pipeline, wire
from imagebuild.stages.tree import Pin
from imagebuild.tools.ostree.repository import Repo
from imagebuild.wiring.stores import open_store
from tests.engine.building import Recorder
from tests.vm.wiring import BUDGET, Lab


def build(store: Store, goal: Step[Any], recorder: Recorder | None = None) -> Outcome:
    with ThreadPoolExecutor(1) as executor:
        outcome = graph.build([goal], store, executor, budget=BUDGET, listener=recorder or Recorder())
    assert not outcome.failed, [error.message for error in outcome.failed.values()]
    return outcome


def download(pipeline: Pipeline) -> Step[Image]:
    return next(one for one in pipeline.images if one.name == "qcow2 cloud")


def test_one_machine_builds_on_what_another_has_made(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    remote = f"file://{tmp_path}/share"
    first, store = download(lab.pipeline), open_store(lab.store, remote)
    made = build(store, first).value(first)
    tree = build(store, lab.pipeline.tree).value(lab.pipeline.tree)

    # another machine, with a store of its own
    two = tmp_path / "two"
    pinned = Pin(ref=tree.ref, commit=tree.commit, update_ref=tree.update_ref)
    pipeline = wire(lab.settings, pinned, replace(lab.host, repo=two / "repo"))
    store, wanted = open_store(two, remote), download(pipeline)
    assert build(store, wanted).value(wanted).sha256 == made.sha256
    assert not list((two / "artifacts").glob("*/*")), "nothing is built, nor fetched before it is read"
    fetched = store.need(kind_of(wanted), key_of(wanted)).directory / "out" / made.file.name
    assert files.sha256(fetched) == made.sha256

    # what it builds itself: an overlay of the disk, which comes with its base; nothing is pulled
    derived, recorder = pipeline.disks["vagrant"], Recorder()
    disk = build(store, derived, recorder).value(derived)
    started = {event.removeprefix("started ") for event in recorder.events if event.startswith("started")}
    assert started == {"kickstart vagrant", "plan vagrant", "disk vagrant"}
    assert disk.file.is_relative_to(two)
    assert Repo(two / "repo").fsck(tree.commit)
    base = build(store, pipeline.disks["cloud"]).value(pipeline.disks["cloud"]).file
    assert base.is_file()
    assert base.stat().st_blocks * 512 < base.stat().st_size / 2, "holes stay holes"
