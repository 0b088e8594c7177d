"""What no machine has is not booted: the cells say why."""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Controller, Firmware, State
from imagebuild.smoke.inapplicable import not_applicable, reason_not_to_boot
from imagebuild.smoke.trial import Run
from imagebuild.stages import smoke
from imagebuild.tools.accelerator import Accelerator
from tests.smoke import trials
from tests.stages.trees import TREE


@pytest.mark.parametrize("controller", Controller)
@pytest.mark.parametrize("firmware", Firmware)
def test_only_secure_boot_on_an_old_chip_set_does_not_apply(
    controller: Controller, firmware: Firmware, tmp_path: Path
) -> None:
    reason = reason_not_to_boot(trials.trial(tmp_path, controller=controller, firmware=firmware))
    assert (reason is not None) == (controller is Controller.IDE and firmware is Firmware.UEFI_SECURE)


@pytest.mark.parametrize(
    ("controller", "firmware", "says"),
    [
        (Controller.VIRTIO, Firmware.UEFI, None),
        (Controller.NVME_4K, Firmware.UEFI_SECURE, None),
        (Controller.VIRTIO, Firmware.BIOS, "machines of aarch64 have no BIOS firmware"),
        (Controller.IDE, Firmware.UEFI, "no machine of aarch64 has a disk on ide"),
        (Controller.PVSCSI, Firmware.UEFI, "no machine of aarch64 has a disk on pvscsi"),
    ],
)
def test_what_no_machine_of_aarch64_has_does_not_apply(
    controller: Controller, firmware: Firmware, says: str | None, tmp_path: Path
) -> None:
    guests = Accelerator(name="tcg", slowness=1, reason="", arch="aarch64")
    trial = trials.trial(tmp_path, controller=controller, firmware=firmware, accelerator=guests)
    assert reason_not_to_boot(trial) == says


def test_a_tree_is_tested_in_guests_of_its_own_architecture(tmp_path: Path) -> None:
    made = trials.trial(tmp_path)
    run = Run(bench=replace(made.bench, accelerator=made.bench.accelerator.of("aarch64")))
    with pytest.raises(BuildError, match="the tree is for x86_64, and guests are of aarch64"):
        smoke.smoke_file(tmp_path, TREE, made.subject, made.promise, run)


def test_it_is_not_booted_and_each_cell_and_its_evidence_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boot(*_: object) -> None:
        raise AssertionError("it was booted")

    monkeypatch.setattr(smoke, "run_criteria", boot)
    trial = trials.trial(tmp_path, controller=Controller.IDE, firmware=Firmware.UEFI_SECURE)
    cells = smoke._tested(tmp_path, trial)  # what the stages share
    assert {cell.state for cell in cells} == {State.NOT_APPLICABLE}
    assert "artifact-boots" in {cell.criterion for cell in cells}
    for cell in cells:
        assert "no System Management Mode" in cell.reason
        assert cell.reason in (tmp_path / cell.evidence).read_text()
    with pytest.raises(AssertionError, match="it was booted"):
        smoke._tested(tmp_path, trials.trial(tmp_path, firmware=Firmware.UEFI_SECURE))  # as above


def test_criteria_that_are_not_asked_have_evidence(tmp_path: Path) -> None:
    (cell,) = not_applicable(trials.trial(tmp_path), ["x"], "because")
    assert (cell.state, (tmp_path / cell.evidence).read_text()) == (State.NOT_APPLICABLE, "because\n")
