"""What a worker makes of a step: where its store is, what a failure leaves, and how that travels."""

import errno
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.cluster import evidence
from imagebuild.cluster.abilities import OF_THE_ORDER, measure
from imagebuild.cluster.choice import why_not
from imagebuild.cluster.evidence import pack, unpack
from imagebuild.cluster.remote_step import Bench, no_space
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.planning import order
from imagebuild.engine.steps import Cost, Unkeyed, gather, step
from imagebuild.errors import BuildError
from imagebuild.tools.accelerator import Accelerator
from tests.cluster.lab import Lab
from tests.cluster.steps import join, tell_place, write
from tests.wiring import settings, wired


def test_workers_with_stores_of_their_own_read_what_others_made(tmp_path: Path, cluster: Lab) -> None:
    """Two workers and this machine have nothing in common but a remote."""
    remote = tmp_path / "remote"
    remote.mkdir()
    for name in ("left", "right"):
        cluster.start_worker(name, store=tmp_path / name, can=(f"be-{name}",), remote=f"file://{remote}")
    try:
        left, right = Cost(needs=("be-left",)), Cost(needs=("be-right",))
        parts = [
            step("one", write, f"{tmp_path} 1", cost=left),
            step("two", write, f"{tmp_path} 2", cost=right),
            step("where", tell_place, Unkeyed(cluster.store / "cells"), cost=right),
        ]
        goal = step("all", join, gather(parts), "\n", cost=left)
        last = step("release", join, gather([goal]), "\n", cost=Cost(needs=(ORIGIN,)))
        outcome = cluster.build(last, remote=remote)
        assert outcome.value(last).file.read_text() == (f"{tmp_path} 1\n{tmp_path} 2\n{tmp_path}/right/cells")
        assert outcome.value(last).file.is_relative_to(cluster.store)
        assert len(list((tmp_path / "right" / "artifacts").glob("*/*"))) == 2
    finally:
        cluster.kill("left")
        cluster.kill("right")


def test_evidence_travels_and_what_is_too_large_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "left"
    (left / "out" / "evidence").mkdir(parents=True)
    (left / "out" / "evidence" / "console").write_text("panic\n")
    (left / "out" / "disk").write_bytes(b"x" * 2000)
    (left / "out" / "link").symlink_to("/etc/passwd")
    (left / "log").write_text("words\n")
    monkeypatch.setattr(evidence, "LARGEST", 1000)
    target = tmp_path / "failed" / "kind-key"
    target.mkdir(parents=True)
    (target / "old").write_text("of the failure before")
    unpack(pack(left), target)
    assert sorted(str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()) == [
        evidence.LEFT_BEHIND, "log", "out/evidence/console",
    ]  # fmt: skip
    assert f"{left}/out/disk (2000 bytes)" in (target / evidence.LEFT_BEHIND).read_text()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("a/../../outside", tarfile.REGTYPE),
        ("/outside", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("hard", tarfile.LNKTYPE),
        ("device", tarfile.BLKTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ],
)
def test_evidence_stays_where_it_belongs(tmp_path: Path, name: str, kind: bytes) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry, io.BytesIO(b""))
    (tmp_path / "failed").mkdir()
    with pytest.raises(tarfile.ReadError, match="neither a file"):
        unpack(buffer.getvalue(), tmp_path / "failed" / "key")
    assert not list((tmp_path / "failed").iterdir())
    assert not (tmp_path / "outside").exists()


def test_a_machine_states_all_that_its_keys_have_of_it(tmp_path: Path) -> None:
    """Whatever this machine would build itself, a worker on this machine takes; and each step depends on what
    is stated.
    """
    told = measure("here", 2, 4000, DirectoryStore(tmp_path / "store"))
    guests = told.accelerator
    assert guests is not None
    ways = tuple(each.removeprefix("populate-") for each in told.can if each.startswith("populate-"))
    pipeline = wired(settings(), accelerator=guests, populate=ways)
    remote = [one for one in order([pipeline.release]) if ORIGIN not in one.cost.needs]
    assert {one.name: why for one in remote if (why := why_not(told, one)) is not None} == {}
    assert len(remote) > 30
    for one in remote:
        for name in one.tools:
            if not name.startswith(OF_THE_ORDER):
                other = replace(told, keys={**told.keys, name: ("another",)})
                assert f"{name} is another" in str(why_not(other, one))
    named = {one.name: one.cost.needs for one in remote}
    assert set(named["disk cloud"]) == {"arch-x86_64", *(f"populate-{way}" for way in ways)}
    here = [one.name for one in order([pipeline.release]) if ORIGIN in one.cost.needs]
    assert here == ["pull", "release"]


def test_guests_of_another_architecture_stay_what_they_are(tmp_path: Path) -> None:
    mine = Accelerator(name="tcg", slowness=3.0, reason="", measured="", arch="x86_64")
    asked = mine.of("aarch64")
    bench = Bench(DirectoryStore(tmp_path), replace(mine, slowness=9.0))
    assert bench._mine(asked) == replace(asked, slowness=max(9.0, asked.slowness))
    assert bench._mine(mine) == replace(mine, slowness=9.0)
    fast = Bench(DirectoryStore(tmp_path), replace(mine, name="kvm", slowness=1.0))
    assert fast._mine(mine) == mine, "it was asked for emulation"


@pytest.mark.parametrize(
    "error",
    [
        BuildError("mkfs.ext4 failed: No space left on device"),
        BuildError("qemu-img failed: Disk quota exceeded"),
        OSError(errno.ENOSPC, "no"),
    ],
)
def test_a_disk_that_a_step_has_filled_is_the_workers(error: Exception) -> None:
    """What the step has written is gone when it has failed."""
    outer = BuildError("it did not work")
    outer.__cause__ = error
    assert no_space(outer)
    assert not no_space(BuildError("it did not work"))
