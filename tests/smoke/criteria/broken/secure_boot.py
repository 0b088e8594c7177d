"""Hosts on which the criteria of test_secure_boot.py fail, and how each says so."""

from dataclasses import replace
from typing import Any

from imagebuild.kinds import Firmware
from imagebuild.smoke.criteria import test_secure_boot as secure_boot
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.secure_boot import GLOBAL_VARIABLE
from imagebuild.smoke.host.words import Host
from tests.smoke.criteria.cases import Case, OnHost, OnJourney
from tests.smoke.told_journey import FakeJourney

OD = "od -A n -t u1 /sys/firmware/efi/efivars"
SECURE_BOOT, SETUP_MODE = (
    f"od -A n -t u1 /sys/firmware/efi/efivars/{name}-{GLOBAL_VARIABLE}"
    for name in ("SecureBoot", "SetupMode")
)
LOCKDOWN = "cat /sys/kernel/security/lockdown"


def _at_first(host: Host, expected: Expected) -> None:
    secure_boot.test_secure_boot_is_on(host, replace(expected, firmware=Firmware.UEFI_SECURE))


def _on_the_way(journey: Any) -> None:
    there: FakeJourney = journey
    there.expected = replace(there.expected, firmware=Firmware.UEFI_SECURE)
    secure_boot.test_secure_boot_stays_on(journey)


CASES: dict[str, Case] = {
    "secure-boot-is-on": OnHost(
        run=_at_first,
        broken=[
            ({SETUP_MODE: "   6   0   0   0   1\n"}, "the firmware has no keys"),
            ({SETUP_MODE: None}, "the firmware has no keys"),
            ({SECURE_BOOT: "   6   0   0   0   0\n"}, "did not check what it started"),
            ({LOCKDOWN: None}, "the kernel has no lockdown"),
            ({LOCKDOWN: "[none] integrity confidentiality\n"}, "the kernel is not locked down"),
        ],
    ),
    "secure-boot-stays-on": OnJourney(
        run=_on_the_way,
        broken=[
            (
                {"upgraded": {"insecure": "the kernel has no lockdown"}},
                "after the upgrade: the kernel has no",
            ),
            ({"rolled_back": {"insecure": "SecureBoot is not 1"}}, "after the rollback: SecureBoot is not 1"),
        ],
    ),
}
