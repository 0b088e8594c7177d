"""Several refs as one build: each is released as soon as it is tested, whatever becomes of the others."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.engine.steps import Step, key_of, step
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError, CriteriaError, UsageError
from imagebuild.model import Release
from imagebuild.publish import facts
from imagebuild.session import batch as batches
from imagebuild.session.batch import Batch, Conclude, Ending, exit_code, join, prepare_each
from imagebuild.session.build import Build, Order, Quiet, Result
from imagebuild.session.releases import Published, Wish
from tests.release_lab import Line
from tests.session.batches import build_of

ONE, OTHER = "debian/12/x86_64/atomic-host", "debian/13/x86_64/atomic-host"


@pytest.fixture
def lines(tmp_path: Path, homedir: Path) -> tuple[Line, Line]:
    one, other = Line(tmp_path / "one", homedir), Line(tmp_path / "other", homedir, ref=OTHER)
    other.changes["release"] = "13"
    other.output = one.output
    return one, other


def released(line: Line) -> Conclude:
    def conclude(build: Build, result: Result) -> Published | None:
        return build.release(result, Wish(output=line.output, day="20261126")) if not result.failed else None

    return conclude


def joined(
    lines: tuple[Line, Line], store: Path, *fails: type[BuildError] | None
) -> tuple[Batch, list[Build]]:
    builds = [build_of(line, store, fails=how) for line, how in zip(lines, fails, strict=True)]
    return join(builds), builds


def test_each_ref_has_its_release(lines: tuple[Line, Line], tmp_path: Path) -> None:
    batch, _ = joined(lines, tmp_path / "store", None, None)
    endings = batch.run(Quiet(), released(lines[0]))
    assert [ending.ref for ending in endings] == [ONE, OTHER]
    names = [ending.published.place.name for ending in endings if ending.published is not None]
    assert names == ["Debian-Atomic-12-20261126.0", "Debian-Atomic-13-20261126.0"]
    assert [facts.read(lines[0].output / name).ref for name in names] == [ONE, OTHER]
    assert exit_code(endings) == 0
    # every step has a name of its own, of its ref
    names = [planned.name for planned in batch.plan()]
    assert len(names) == len(set(names))
    assert [name.partition(": ")[0] for name in names] == sorted(name.partition(": ")[0] for name in names)
    # the graph of one ref alone finds everything
    again = build_of(lines[1], tmp_path / "store")
    assert not [planned for planned in again.planned if planned.todo]


def slowly(release: Step[Release], opened: Callable[[], object]) -> Step[Release]:
    OPENED[:] = [opened]
    return step("release", wait_and_give, release)


OPENED: list[Callable[[], object]] = []


def wait_and_give(out: Path, release: Release) -> Release:
    OPENED[0]()
    shutil.copyfile(release.manifest, out / "admitted.json")
    return Release(manifest=out / "admitted.json")


def test_a_ref_is_released_while_another_is_built(lines: tuple[Line, Line], tmp_path: Path) -> None:
    first, second = (build_of(line, tmp_path / "store") for line in lines)
    done = threading.Event()

    def conclude(build: Build, result: Result) -> Published | None:
        published = released(lines[0])(build, result)
        if build.ref == ONE:
            done.set()
        return published

    # the other's last step waits for the release of this one
    late = slowly(second.pipeline.release, lambda: done.wait(60) or pytest.fail("it was not released"))
    second = replace(second, pipeline=replace(second.pipeline, release=late))
    endings = join([first, second]).run(Quiet(), conclude)
    assert exit_code(endings) == 0
    assert all(ending.published is not None for ending in endings)


@pytest.mark.parametrize(("how", "code"), [(BuildError, 1), (CriteriaError, 3)])
def test_a_failure_holds_up_no_other_ref(
    lines: tuple[Line, Line], tmp_path: Path, how: type[BuildError], code: int
) -> None:
    batch, _ = joined(lines, tmp_path / "store", how, None)
    failed, good = batch.run(Quiet(), released(lines[0]))
    assert failed.published is None
    assert good.published is not None
    assert (failed.exit_code, good.exit_code) == (code, 0)
    assert failed.result is not None
    assert list(failed.result.failed) == [f"{ONE}: smoke test"]
    assert failed.result.not_started == {f"{ONE}: release": f"{ONE}: smoke test"}
    assert good.result is not None
    assert not good.result.failed
    # only cells of its own
    assert {cell.artifact for cell, _ in good.result.cells} == {
        download.name for download in good.result.downloads
    }


def test_a_release_that_fails_is_a_failure_of_its_ref(lines: tuple[Line, Line], tmp_path: Path) -> None:
    batch, _ = joined(lines, tmp_path / "store", None, None)

    def conclude(build: Build, result: Result) -> Published | None:
        if build.ref == ONE:
            raise BuildError("it grew")
        return released(lines[0])(build, result)

    failed, good = batch.run(Quiet(), conclude)
    assert (failed.exit_code, good.exit_code) == (1, 0)
    assert failed.error is not None
    assert failed.error.message == "it grew"


def test_what_lies_elsewhere_is_brought_here_before_it_is_released(
    lines: tuple[Line, Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, _ = joined(lines, tmp_path / "store", None, None)
    brought: list[tuple[str, str]] = []
    need = batch.store.need

    def recorded(kind: str, key: str) -> StoredArtifact:
        brought.append((kind, key))
        return need(kind, key)

    monkeypatch.setattr(batch.store, "need", recorded)
    good, _ = batch.run(Quiet(), released(lines[0]))
    assert good.result is not None
    assert good.published is not None
    assert {record.directory.name for record in good.result.outcome.records.values()} <= {
        key for _, key in brought
    } | {key_of(batch.builds[0].pipeline.release)}


def test_what_is_lost_meanwhile_is_a_failure_of_its_ref(
    lines: tuple[Line, Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, _ = joined(lines, tmp_path / "store", None, None)

    lost = {key_of(one) for one in batch.builds[0].pipeline.verdicts}
    lost -= {key_of(one) for one in batch.builds[1].pipeline.verdicts}
    assert lost
    need = batch.store.need

    def without(kind: str, key: str) -> StoredArtifact:
        if key in lost:
            raise BuildError("it is not there")
        return need(kind, key)

    monkeypatch.setattr(batch.store, "need", without)
    failed, good = batch.run(Quiet(), released(lines[0]))
    assert (failed.exit_code, good.exit_code) == (1, 0)


def test_codes_are_1_before_3_before_0() -> None:
    fine, failed = Ending(ref="a"), Ending(ref="b", error=BuildError("x"))
    unfit = Ending(ref="c", error=CriteriaError("x"))
    assert exit_code([fine]) == 0
    assert exit_code([fine, unfit]) == 3
    assert exit_code([unfit, failed, fine]) == 1


def test_what_both_need_is_built_once_and_said_to_be(lines: tuple[Line, Line], tmp_path: Path) -> None:
    one, _ = lines
    build = build_of(one, tmp_path / "store")
    twin = replace(build, ref=OTHER)
    plan = join([build, twin]).plan()
    assert {step.refs for step in plan} == {(ONE, OTHER)}
    assert len(plan) == len(build.planned)


def test_a_ref_whose_commit_cannot_be_had(
    lines: tuple[Line, Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = build_of(lines[0], tmp_path / "store")

    def prepare(order: Order, say: object) -> Build:
        if order.ref == OTHER:
            raise BuildError("the server does not answer")
        return build

    monkeypatch.setattr(batches, "prepare", prepare)
    prepared = prepare_each([Order(ref=OTHER), Order(ref=ONE)])
    endings = join(prepared.builds, prepared.failed).run(Quiet(), released(lines[0]))
    assert [(ending.ref, ending.exit_code) for ending in endings] == [(ONE, 0), (OTHER, 1)]


def test_what_is_asked_wrongly_is_said_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(order: Order, say: object) -> Build:
        raise UsageError("this release line makes no ova") if order.ref == OTHER else BuildError("no server")

    monkeypatch.setattr(batches, "prepare", prepare)
    with pytest.raises(UsageError, match=r"debian/13.*: this release line makes no ova"):
        prepare_each([Order(ref=ONE), Order(ref=OTHER)])
    assert list(prepare_each([Order(ref=ONE)]).failed) == [ONE]


def test_a_commit_that_is_marked_bad_is_left_out(lines: tuple[Line, Line], tmp_path: Path) -> None:
    one, other = (build_of(line, tmp_path / "store") for line in lines)
    (lines[0].output / "bad").mkdir(parents=True)
    (lines[0].output / "bad" / f"{one.commit}.asc").write_text("reason: x\n")
    prepared = batches.Prepared(builds=[one, other])
    prepared.check()
    assert [build.ref for build in prepared.builds] == [OTHER]
    assert "marked bad" in prepared.failed[ONE].message


def test_an_interrupt_ends_it_and_releases_nothing_more(
    lines: tuple[Line, Line], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, _ = joined(lines, tmp_path / "store", None, None)
    ended: list[str] = []

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batches, "run_graph", interrupt)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        batch.run(Quiet(), lambda build, _: ended.append(build.ref))
    assert not ended
    assert time.monotonic() - begun < 5
