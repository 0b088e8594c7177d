"""A verdict holds for the criteria that gave it, and no others."""

import shutil
from pathlib import Path

import pytest

from imagebuild.config import SmokeConfig
from imagebuild.kinds import Firmware, Login
from imagebuild.stages import smoke
from imagebuild.stages.smoke import SmokeSpec

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
