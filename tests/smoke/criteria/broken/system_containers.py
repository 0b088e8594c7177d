"""Hosts on which the criteria of test_system_containers.py fail, and how each says so."""

from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_UNIT
from imagebuild.smoke.criteria import test_system_containers as system_containers
from tests.smoke.criteria.cases import Case, OnJourney

CASES: dict[str, Case] = {
    "system-containers-survive-a-reboot": OnJourney(
        run=system_containers.test_system_containers_survive_a_reboot,
        broken=[
            (
                {"upgraded": {"units": {SYSTEM_UNIT: "failed", CONTAINER_UNIT: "active"}}},
                f"{SYSTEM_UNIT} is failed",
            ),
            ({"answers": {"atomic containers list": "[]"}}, "does not list"),
        ],
    ),
    "container-units-survive-a-reboot": OnJourney(
        run=system_containers.test_container_units_survive_a_reboot,
        broken=[
            ({"upgraded": {"units": {CONTAINER_UNIT: "", SYSTEM_UNIT: "active"}}}, "is not there"),
            ({"problems": {CONTAINER_UNIT: "no"}}, "cannot be started"),
        ],
    ),
}
