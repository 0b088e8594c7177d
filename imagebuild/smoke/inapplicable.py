"""What cannot be asked at all: the cells say so, and nothing is booted for it."""

from collections.abc import Sequence

from imagebuild.kinds import State
from imagebuild.model import Cell
from imagebuild.smoke.trial import Trial
from imagebuild.tools.qemu.registry import CONTROLLERS, FIRMWARES


def reason_not_to_boot(trial: Trial) -> str | None:
    """Return why no machine of this architecture has this firmware with this controller; None when there are
    such machines.
    """
    firmware, arch = trial.bench.firmware, trial.bench.accelerator.arch
    controller = CONTROLLERS[trial.subject.controller]
    return (
        FIRMWARES[firmware].reason_not_of(arch)
        or controller.reason_not_in(arch)
        or controller.reason_not_under(firmware, needs_smm=FIRMWARES[firmware].needs_smm(arch))
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
