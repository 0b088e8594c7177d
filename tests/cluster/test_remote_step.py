"""What a worker makes of a step: where its store is, what a failure leaves, and how that travels."""

import io
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from imagebuild.cluster import evidence
from imagebuild.cluster.abilities import OF_THE_ORDER, measure
from imagebuild.cluster.choice import why_not
from imagebuild.cluster.evidence import pack, unpack
from imagebuild.cluster.remote_step import localised
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.dispatch import ORIGIN
from imagebuild.engine.planning import order
from imagebuild.engine.steps import Cost, Unkeyed, gather, step
from tests.cluster.lab import Lab
from tests.cluster.steps import join, tell_place, write
from tests.wiring import settings, wired


@dataclass(frozen=True)
class Inner:
    place: Path
    count: int = 1


class Model(BaseModel):
    inner: Inner
    places: tuple[Path, ...]
    other: str = "x"


def test_places_in_the_clients_store_are_places_in_the_workers() -> None:
    def mine(value: object) -> object:
        if isinstance(value, Path) and value.is_relative_to("/client"):
            return Path("/worker") / value.relative_to("/client")
        return value

    value = Model(inner=Inner(Path("/client/cells")), places=(Path("/client"), Path("/usr/bin")))
    assert localised(value, mine) == Model(
        inner=Inner(Path("/worker/cells")), places=(Path("/worker"), Path("/usr/bin"))
    )
    same = Model(inner=Inner(Path("/x")), places=())
    assert localised(same, mine) == same
    assert localised({"a": [Path("/client/b"), 1, None]}, mine) == {"a": [Path("/worker/b"), 1, None]}


def test_workers_with_stores_of_their_own_read_what_others_made(tmp_path: Path, cluster: Lab) -> None:
    """Two workers and this machine have nothing in common but a remote."""
    remote = tmp_path / "remote"
    for name in ("left", "right"):
        cluster.start_worker(name, store=tmp_path / name, can=(f"be-{name}",), remote=str(remote))
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
