"""The seed for cloud-init: what it says, and that it makes nothing permanent."""

import email
import json
import re
from pathlib import Path

import pytest

from imagebuild.smoke.seed import make_seed
from tests.smoke.trials import EXPECTED


def cloud_config(place: Path) -> dict[str, list[list[str]]]:
    message = email.message_from_string((place / "seed" / "user-data").read_text())
    (text,) = [
        str(part.get_payload()) for part in message.walk() if part.get_content_type() == "text/cloud-config"
    ]
    found: dict[str, list[list[str]]] = json.loads(text.removeprefix("#cloud-config\n"))
    return found


def test_systemd_waits_longer_on_a_slow_machine_and_only_in_run(tmp_path: Path) -> None:
    assert make_seed(tmp_path, EXPECTED, 4.5).stat().st_size
    ((shell, option, script),) = cloud_config(tmp_path)["bootcmd"]
    assert (shell, option) == ("sh", "-c")
    assert "DefaultTimeoutStartSec=405\\n" in script
    assert set(re.findall(r"/[a-z]+/", script.replace("/run/systemd/system.conf.d", "/run/"))) == {"/run/"}


@pytest.mark.parametrize("slowness", [1.0, 1.4])
def test_on_a_quick_machine_nothing_is_changed(tmp_path: Path, slowness: float) -> None:
    make_seed(tmp_path, EXPECTED, slowness)
    assert set(cloud_config(tmp_path)) == {"ssh_authorized_keys", "runcmd"}
