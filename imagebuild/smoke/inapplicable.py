"""What cannot be asked at all: the cells say so, and nothing is booted for it."""

from collections.abc import Sequence

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke.trial import Trial
from imagebuild.tools.qemu.registry import CONTROLLERS, FIRMWARES


def reason_not_to_boot(trial: Trial) -> str | None:
    """Return why no machine with this controller has this firmware; None when there are such machines."""
    firmware = trial.bench.firmware
    return CONTROLLERS[trial.subject.controller].reason_not_under(
        firmware, needs_smm=FIRMWARES[firmware].needs_smm
    )


def not_applicable(trial: Trial, names: Sequence[str], reason: str) -> list[Cell]:
    """Return the cells of criteria that are not asked for a reason, which is their evidence, too."""
    for name in names:
        (trial.evidence / f"{name}.log").write_text(reason + "\n")
    return [
        Cell(
            criterion=name,
            artifact=trial.subject.artifact,
            firmware=trial.bench.firmware,
            state=State.NOT_APPLICABLE,
            reason=reason,
            evidence=f"{name}.log",
            seconds=0.0,
        )
        for name in names
    ]
