"""Hosts on which the criteria of test_no_failed_units.py fail, and how each says so."""

from imagebuild.smoke.container_units import CONTAINER_UNIT
from imagebuild.smoke.criteria import test_no_failed_units as units
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "no-unit-has-failed": OnHost(
        run=units.test_no_unit_has_failed,
        broken=[
            (
                {
                    "systemctl list-units": (
                        f"{CONTAINER_UNIT} loaded failed failed A container\n"
                        "boot.mount loaded failed failed /boot\n"
                    )
                },
                "failed: boot.mount",
            ),
            ({"systemctl list-units": "boot.mount loaded failed failed /boot\n"}, "boot.mount"),
        ],
    ),
}
