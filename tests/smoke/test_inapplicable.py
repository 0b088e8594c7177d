"""What no machine has is not booted: the cells say why."""

from pathlib import Path

import pytest

from imagebuild.kinds import Controller, Firmware, State
from imagebuild.smoke.inapplicable import not_applicable, reason_not_to_boot
from imagebuild.stages import smoke
from tests.smoke import trials


@pytest.mark.parametrize("controller", Controller)
@pytest.mark.parametrize("firmware", Firmware)
def test_only_secure_boot_on_an_old_chip_set_does_not_apply(
    controller: Controller, firmware: Firmware, tmp_path: Path
) -> None:
    reason = reason_not_to_boot(trials.trial(tmp_path, controller=controller, firmware=firmware))
    assert (reason is not None) == (controller is Controller.IDE and firmware is Firmware.UEFI_SECURE)


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
