"""A verdict holds for the criteria that gave it, and no others."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from imagebuild.config.smoke import SmokeConfig
from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Controller, Firmware, HostKind, Login, State
from imagebuild.model import Cell
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.cells import CellStore
from imagebuild.smoke.hosts.registry import commands_of
from imagebuild.smoke.rig import Rig
from imagebuild.stages import smoke
from imagebuild.stages import tree as stage
from imagebuild.stages.smoke import Bench, SmokeSpec, Subject
from imagebuild.tools import command, load, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import FILES, REF, make_commit

GUEST = SmokeConfig(user="debian")


@pytest.mark.parametrize(
    "changed", ["smoke/criteria/test_boots.py", "smoke/criteria/plugin.py", "smoke/storage/podman_overlay.py"]
)
def test_a_changed_criterion_is_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    package = tmp_path / "imagebuild"
    shutil.copytree(Path(smoke.__file__).parent.parent, package)
    monkeypatch.setattr(smoke, "__file__", str(package / "stages" / "smoke.py"))
    before = SmokeSpec(
        firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST
    )
    assert before == SmokeSpec(
        firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST
    )
    with (package / changed).open("a") as stream:
        stream.write("# changed\n")
    assert before != SmokeSpec(
        firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST
    )


def test_whatever_the_criteria_use_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = smoke.criteria_digest()
    asked: list[str] = []

    def changed(module: str) -> str:
        asked.append(module)
        return "changed"

    monkeypatch.setattr(smoke, "source_digest", changed)
    assert smoke.criteria_digest() != before
    # which imports the suite, the hosts, their journeys and all that these use (steps.source_digest)
    assert asked == ["imagebuild.smoke.criteria.plugin"]


@pytest.mark.parametrize("there", [True, False])
def test_hosts_with_atomic_are_told_by_it_too(tmp_path: Path, there: bool) -> None:
    (tmp_path / "work").mkdir()
    repo = Repo.ensure(tmp_path / "repo")
    files = (
        FILES
        | {"usr/bin/rpm-ostree": b"x"}
        | ({"usr/share/atomic/atomic": b"#!/usr/bin/python3"} if there else {})
    )
    # atomic 1.19, Makefile
    commit = make_commit(repo, tmp_path / "work", files, links={"usr/bin/atomic": "../share/atomic/atomic"})
    tree = stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    subject = Subject(
        artifact="a", boot=Unpacked(disk=tmp_path / "disk", format="raw", controller=Controller.VIRTIO)
    )
    spec = SmokeSpec(
        firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST
    )
    rig = smoke._rig(
        subject, tree, (), spec, Bench(accelerator=Accelerator(name="tcg", slowness=1, reason="")), tmp_path
    )
    ways = [way.name for way in commands_of(rig.host_kind, atomic=rig.atomic)]
    assert ways == ["rpm-ostree", *(["atomic host"] if there else [])]


def run_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tries: int, *attempts: tuple[State, str]
) -> tuple[State, int, int]:
    """Run made-up attempts; return how the last one ended, how many there were, and how often it was waited
    for a quieter machine.
    """
    left = list(attempts)
    waited: list[int] = []

    def once(out: Path, rig: Rig) -> tuple[Cell, ...]:
        assert rig.cells is not None
        state, reason = left.pop(0)
        cell = Cell(
            criterion="artifact-boots",
            artifact="a",
            firmware=Firmware.BIOS,
            state=state,
            reason=reason,
            evidence="x",
            seconds=1.0,
        )
        return (CellStore(rig.cells, rig).keep(cell, "imagebuild.smoke.criteria.test_boots"),)

    evidence = tmp_path / "evidence"
    evidence.mkdir()
    rig = Rig(
        disk=Path("/none"),
        disk_format="raw",
        controller=Controller.VIRTIO,
        login=Login.CLOUD_INIT,
        artifact="a",
        firmware=Firmware.BIOS,
        commit="c",
        version="1",
        refspec="r",
        user="u",
        cores=1,
        host_kind=HostKind.OSTREE,
        memory=1,
        storage="s",
        update_url="u",
        accelerator=Accelerator(name="tcg", slowness=1, reason=""),
        evidence=evidence,
    )
    monkeypatch.setattr(smoke, "_run_once", once)
    monkeypatch.setattr(load, "wait_for_quiet", waited.append)
    monkeypatch.setattr(command, "version", lambda _: "7.2")
    (cell,) = smoke._run(tmp_path, rig, tries)
    assert len(list(evidence.glob("try-*"))) == len(attempts) - len(left) - 1
    return cell.state, len(attempts) - len(left), len(waited)


FAILED, PASSED = (State.FAILED, "wrong"), (State.PASSED, "")
BROKE, BUSY = (State.ERROR, "no connection"), (State.ERROR, f"{STARVED}: of 900 s …")


@pytest.mark.parametrize(
    ("tries", "attempts", "ends"),
    [
        (2, (BUSY, PASSED), (State.PASSED, 2, 1)),  # never flaky
        (1, (BUSY, PASSED), (State.PASSED, 2, 1)),
        (2, (FAILED, PASSED), (State.FLAKY, 2, 0)),
        (2, (BROKE, PASSED), (State.PASSED, 2, 0)),
        (2, (BUSY, FAILED, PASSED), (State.FLAKY, 3, 1)),  # what the rig broke was no try
        (2, (BUSY, BUSY, PASSED), (State.ERROR, 2, 1)),  # nobody tries for ever
        (1, (FAILED, PASSED), (State.FAILED, 1, 0)),
        (2, (FAILED, FAILED, PASSED), (State.FAILED, 2, 0)),
        (2, (PASSED,), (State.PASSED, 1, 0)),
    ],
)
def test_a_rig_that_broke_is_no_try(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tries: int,
    attempts: tuple[tuple[State, str], ...],
    ends: tuple[State, int, int],
) -> None:
    assert run_of(tmp_path, monkeypatch, tries, *attempts) == ends


def test_what_the_criteria_make_belongs_to_who_runs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(
        disk=Path("/none"),
        disk_format="raw",
        controller=Controller.VIRTIO,
        login=Login.CLOUD_INIT,
        artifact="a",
        firmware=Firmware.BIOS,
        commit="c",
        version="1",
        refspec="r",
        user="u",
        cores=1,
        host_kind=HostKind.OSTREE,
        memory=1,
        storage="s",
        update_url="u",
        accelerator=Accelerator(name="tcg", slowness=1, reason=""),
        evidence=tmp_path,
    )
    cell = Cell(
        criterion="boots",
        artifact="a",
        firmware=Firmware.BIOS,
        state=State.PASSED,
        reason="",
        evidence="serial.log",
        seconds=1.0,
    )
    left: list[Path] = []

    def killed(argv: list[str], *, env: dict[str, str], **_: object) -> str:
        for place in json.loads(env[temporary.PLACES]):
            (Path(place) / "guest-0000.secret").mkdir()
            left.append(Path(place))
        (tmp_path / "cells.json").write_bytes(TypeAdapter(list[Cell]).dump_json([cell]))
        return ""

    monkeypatch.setattr(command, "run", killed)
    assert smoke._run_once(tmp_path, rig) == (cell,)
    assert len(left) == 2
    assert not any(place.exists() for place in left)
