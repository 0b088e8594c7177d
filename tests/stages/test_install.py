"""What becomes of an installation in which the rig broke: it is tried once more, and is never the medium's
failure.
"""

import json
from pathlib import Path

import pytest

from imagebuild.config.smoke import SmokeConfig
from imagebuild.errors import BuildError, CriteriaError
from imagebuild.kinds import Firmware
from imagebuild.model import IsoImage
from imagebuild.smoke import installation
from imagebuild.smoke.boot import STARVED
from imagebuild.smoke.boot_menu import InstallationError
from imagebuild.smoke.host.errors import RigError
from imagebuild.smoke.installation import InstallerBench
from imagebuild.stages.install import install_iso
from imagebuild.tools import load
from imagebuild.tools.accelerator import Accelerator
from tests.stages.trees import TREE

BUSY, BROKE, WRONG = (
    RigError(f"{STARVED}: of 900 s …"),
    RigError("QEMU failed with exit status 1"),
    InstallationError("a bad medium"),
)


def medium(place: Path) -> IsoImage:
    """Return an ISO of which nobody has seen that it is signed."""
    return IsoImage(
        file=place / "x.iso",
        name="x.iso",
        backend="live",
        volume_id="X",
        commit="c",
        md5="",
        unattended=True,
        treeinfo=place / "t",
        size=1,
        sha256="",
    )


@pytest.mark.parametrize(
    ("ends", "state", "quiet"),
    [
        ((None,), "", 0), ((BUSY, None), "", 1), ((BROKE, None), "", 0), ((BUSY, WRONG), "failed", 1),
        ((BUSY, BUSY), "error", 1),
        ((WRONG,), "failed", 0),
    ],
)  # fmt: skip
def test_a_rig_that_broke_is_no_failure_of_the_medium(
    ends: tuple[Exception | None, ...],
    state: str,
    quiet: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, waited = list(ends), list[int]()

    def install(bench: InstallerBench, disk: Path, evidence: Path) -> dict[str, float]:
        assert not disk.exists()
        disk.write_text("half")
        (evidence / "serial.log").write_text(f"{len(left)} left")
        error = left.pop(0)
        if error is not None:
            raise error
        return {"off": 1.0}

    monkeypatch.setattr(installation, "install", install)
    monkeypatch.setattr(load, "wait_for_quiet", waited.append)
    iso = medium(tmp_path)
    accelerator = Accelerator(name="tcg", slowness=1, reason="")
    if state:
        with pytest.raises(CriteriaError):
            install_iso(tmp_path, TREE, iso, Firmware.BIOS, 64, SmokeConfig(user="u"), accelerator)
        (cell,) = json.loads((tmp_path / "verdict.json").read_text())
        assert (cell["state"], cell["evidence"]) == (state, "serial.log")
    else:
        assert install_iso(
            tmp_path, TREE, iso, Firmware.BIOS, 64, SmokeConfig(user="u"), accelerator
        ).phases == {"off": 1.0}
    assert (left, len(waited)) == ([], quiet)
    assert (tmp_path / "evidence" / "try-1").exists() == (len(ends) == 2)
    assert (tmp_path / "evidence" / "serial.log").read_text() == "1 left"


def test_what_nobody_signed_is_not_booted_on_a_machine_with_secure_boot(tmp_path: Path) -> None:
    accelerator, guest = Accelerator(name="tcg", slowness=1, reason=""), SmokeConfig(user="u")
    with pytest.raises(BuildError, match=r"x\.iso is to boot under uefi-secure, but nobody looked") as caught:
        install_iso(tmp_path, TREE, medium(tmp_path), Firmware.UEFI_SECURE, 64, guest, accelerator)
    assert "take uefi-secure out of installer.firmware" in caught.value.hint
    assert not (tmp_path / "evidence").exists()
