"""From a finished graph to a release: what the command line does last, with steps that hand out what the lab
made.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from imagebuild.engine import graph
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost
from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import Firmware
from imagebuild.model import Tree
from imagebuild.publish import facts
from imagebuild.publish.names import day_of
from imagebuild.publish.numbers import at_work
from imagebuild.session.material import material_of
from imagebuild.session.releases import Published, Wish, composed_before, publish
from imagebuild.stages.tree import Before, Pin
from imagebuild.tools.accelerator import Accelerator
from imagebuild.wiring.builder import Builder
from tests.cli.quiet import Silent
from tests.release_lab import FIRST, REF, SECOND, Line
from tests.session.handed_out import wired

TREE = {
    "url": "https://example.org/repo",
    "osname": "o",
    "remote": "r",
    "update_url": "https://example.org",
    "update_gpg_key": "/k",
}
BUDGET = Cost(cores=2, memory=1 << 30)


def build(
    line: Line,
    tree: Tree,
    before: Tree | None,
    *,
    nightly: bool = False,
    day: str | None = "20261126",
    **wish: Any,
) -> Path:
    return published(line, tree, before, day=day, nightly=nightly, **wish).place


def published(
    line: Line,
    tree: Tree,
    before: Tree | None,
    *,
    day: str | None = "20261126",
    nightly: bool = False,
    **wish: Any,
) -> Published:
    pipeline, store = wired(line, tree, before), DirectoryStore(line.place / "store")
    with ThreadPoolExecutor(2) as executor:
        outcome = graph.build([pipeline.release], store, executor, budget=BUDGET, listener=Silent())
    assert not outcome.failed, outcome.failed
    host = Builder(
        repo=line.repo.path,
        populate=("native",),
        accelerator=Accelerator(name="tcg", slowness=3.0, reason="x"),
    )
    known = (
        Before(pin=Pin(ref=REF, commit=before.commit))
        if before
        else Before(pin=None, why_not="the first", first=True)
    )
    material = material_of(
        line.config, pipeline, outcome, host, known, 1_790_000_000 + line.trees.index(tree)
    )
    return publish(material, Wish(output=line.output, day=day, nightly=nightly, **wish))


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
    assert composed_before(line.config, line.output, REF, second.commit) == other.name
    assert composed_before(line.config, line.output, REF, "f" * 64) is None


def test_what_is_asked_for_by_name_is_made_though_the_same_was_released(
    tmp_path: Path, homedir: Path
) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    assert build(line, first, None).name == "Debian-Atomic-12-20261126.0"
    # nothing asked for: whenever it was
    assert build(line, first, None, day=None).name == "Debian-Atomic-12-20261126.0"
    assert build(line, first, None, respin=3).name == "Debian-Atomic-12-20261126.3"
    assert build(line, first, None, respin=3).name == "Debian-Atomic-12-20261126.3"
    assert build(line, first, None, day="20261127").name == "Debian-Atomic-12-20261127.0"
    assert build(line, first, None, again=True).name == "Debian-Atomic-12-20261126.1"
    with pytest.raises(UsageError, match=r"20261126\.1 is taken"):
        build(line, first, None, again=True, respin=1)
    with pytest.raises(UsageError, match="26-11-2026"):
        Wish(output=line.output, day="26-11-2026")


def test_of_a_commit_that_is_marked_bad_nothing_is_signed(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    build(line, first, None)
    (line.output / "bad").mkdir()
    (line.output / "bad" / f"{first.commit}.asc").write_text("reason: x\n")
    for wish in ({}, {"again": True}, {"respin": 5}, {"nightly": True}):
        with pytest.raises(BuildError, match=f"the commit {first.commit} is marked bad"):
            build(line, first, None, **wish)


def test_a_compose_that_is_bad_by_its_name_only_is_made_again_under_another(
    tmp_path: Path, homedir: Path
) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    place = build(line, first, None)
    (line.output / "bad").mkdir()
    (line.output / "bad" / f"{place.name}.asc").write_text("reason: the page was wrong\n")
    assert build(line, first, None).name == "Debian-Atomic-12-20261126.1"


def test_respin_and_no_day_is_today(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    build(line, first, None, day="20250101")
    made = build(line, first, None, day=None, respin=0)
    assert made.name == f"Debian-Atomic-12-{day_of(None)}.0"


def test_one_that_makes_a_release_waits_for_another(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    with ThreadPoolExecutor(1) as executor:
        with at_work(line.output):
            made = executor.submit(build, line, first, None)
            with pytest.raises(TimeoutError):
                made.result(timeout=6)
            assert not list(line.output.glob("Debian*"))
        assert made.result(timeout=60).name == "Debian-Atomic-12-20261126.0"


def test_an_index_that_an_interruption_left_old_is_mended_by_the_next_night(
    tmp_path: Path, homedir: Path
) -> None:
    line = Line(tmp_path / "line", homedir)
    first = line.commit("12.1", FIRST)
    place = build(line, first, None)
    (line.output / "index.html").unlink()
    assert composed_before(line.config, line.output, REF, first.commit) == place.name
    assert place.name in (line.output / "index.html").read_text()


def test_an_unsigned_commit_is_told(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    line.changes["tree"] = {**TREE, "allow_unsigned": True}
    release = published(line, line.commit("12.1", FIRST), None)
    assert release.new
    assert release.unsigned


def test_a_missing_key_is_said_before_anything_is_made(tmp_path: Path, homedir: Path) -> None:
    line = Line(tmp_path / "line", homedir)
    line.changes["publish"] = {"signing": {"user": "nobody@example.org", "homedir": str(tmp_path / "empty")}}
    first = line.commit("12.1", FIRST)
    with pytest.raises(BuildError, match=r"no secret key of nobody@example\.org"):
        build(line, first, None)
    assert not list(line.output.glob("[!.]*"))
