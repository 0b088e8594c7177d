"""On a machine with Secure Boot nothing runs that nobody signed, from the firmware to the kernel's modules;
and that stays so when the host goes from release to release.
"""

from imagebuild.kinds import Firmware
from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.journey import Journey

APPLIES = "machines with Secure Boot (`uefi-secure`)"


def _needs_secure_boot(expected: Expected) -> None:
    if expected.firmware is not Firmware.UEFI_SECURE:
        raise NotApplicableError(f"a machine with {expected.firmware} firmware has no Secure Boot")


@criterion(
    group=Group.BOOTS,
    about="Secure Boot is on: firmware and kernel take only what is signed.",
    boots=True,
    applies_to=APPLIES,
    needs=(Trait.SECURE_BOOT,),
)
def test_secure_boot_is_on(host: Host, expected: Expected) -> None:
    _needs_secure_boot(expected)
    assert (reason := host.reason_insecure()) is None, reason


@criterion(
    group=Group.UPGRADES,
    about="Secure Boot is still on after an upgrade and after a rollback.",
    asks=Asks.JOURNEY,
    firmware_bound=True,
    applies_to=APPLIES,
    needs=(Trait.SECURE_BOOT,),
)
def test_secure_boot_stays_on(journey: Journey) -> None:
    _needs_secure_boot(journey.expected)
    for name, stop in (
        ("upgrade", journey.found(journey.upgraded)),
        ("rollback", journey.found(journey.rolled_back)),
    ):
        assert stop.insecure is None, f"after the {name}: {stop.insecure}"
