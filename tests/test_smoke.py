"""A verdict holds for the criteria that gave it, and no others."""

import shutil
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from imagebuild.config import SmokeConfig
from imagebuild.kinds import Controller, Firmware, HostKind, Login, State
from imagebuild.model import Cell
from imagebuild.rig import Rig
from imagebuild.stages import smoke
from imagebuild.stages.smoke import SmokeSpec
from imagebuild.tools import command, temporary
from imagebuild.tools.accelerator import Accelerator

GUEST = SmokeConfig(user="debian")


@pytest.mark.parametrize("changed", ["criteria/test_boots.py", "criteria/plugin.py", "storage/podman_overlay.py"])
def test_a_changed_criterion_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    package = tmp_path / "imagebuild"
    shutil.copytree(Path(smoke.__file__).parent.parent, package)
    monkeypatch.setattr(smoke, "__file__", str(package / "stages" / "smoke.py"))
    before = SmokeSpec(firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST)
    assert before == SmokeSpec(firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST)
    with (package / changed).open("a") as stream:
        stream.write("# changed\n")
    assert before != SmokeSpec(firmware=Firmware.BIOS, login=Login.CLOUD_INIT, storage="s", remote="r", update_url="u", guest=GUEST)


def test_whatever_the_criteria_use_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = smoke.criteria_digest()
    asked: list[str] = []

    def changed(module: str) -> str:
        asked.append(module)
        return "changed"

    monkeypatch.setattr(smoke, "source_digest", changed)
    assert smoke.criteria_digest() != before
    # which imports the suite, the hosts, their journeys and all that these use (steps.source_digest)
    assert asked == ["imagebuild.criteria.plugin"]


def test_what_the_criteria_make_belongs_to_who_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(
        disk=Path("/none"), disk_format="raw", controller=Controller.VIRTIO, login=Login.CLOUD_INIT, artifact="a", firmware=Firmware.BIOS,
        commit="c", version="1", refspec="r", user="u", cores=1, host_kind=HostKind.OSTREE, memory=1, storage="s", update_url="u",
        accelerator=Accelerator(name="tcg", slowness=1, reason=""), evidence=tmp_path,
    )  # fmt: skip
    cell = Cell(criterion="boots", artifact="a", firmware=Firmware.BIOS, state=State.PASSED, reason="", evidence="serial.log", seconds=1.0)
    left: list[Path] = []

    def killed(argv: list[str], *, env: dict[str, str], **_: object) -> str:
        for place in env[temporary.PLACES].split(":"):
            (Path(place) / "guest-0000.secret").mkdir()
            left.append(Path(place))
        (tmp_path / "cells.json").write_bytes(TypeAdapter(list[Cell]).dump_json([cell]))
        return ""

    monkeypatch.setattr(command, "run", killed)
    assert smoke._run_once(tmp_path, rig) == (cell,)
    assert len(left) == 2
    assert not any(place.exists() for place in left)
