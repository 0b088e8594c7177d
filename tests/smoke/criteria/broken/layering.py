"""Hosts on which the criteria of test_layering.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_layering as layering
from imagebuild.smoke.served import PACKAGE
from tests.smoke.criteria.cases import GONE, PARTS, Case, OnJourney
from tests.smoke.told_journey import HEALTHY_STOPS, NEXT, deployment

CASES: dict[str, Case] = {
    "layers-a-package": OnJourney(
        run=lambda journey: layering.test_layers_a_package(journey, "url"),
        broken=[
            ({"layered": HEALTHY_STOPS["start"]}, "has layered"),
            (
                {"layered": {"deployments": (deployment(NEXT, booted=True, requested=(PACKAGE,)),)}},
                "below the package lies",
            ),
            ({"answers": {PACKAGE: "no\n"}}, "does not run"),
            ({"answers": {"rpm -q": None}}, f"rpm does not know {PACKAGE}"),
            ({"answers": {f"rpm -q {PARTS.data}": None}}, f"rpm does not know {PARTS.data}"),
            ({"answers": {f"getent passwd {PARTS.user}": None}}, "has made no"),
            ({"answers": {f"getent group {PARTS.user}": None}}, "in group"),
            ({"answers": {f"cat {PARTS.mark}": None}}, "did not run: there is no"),
            ({"answers": {f"cat {PARTS.etc}": "else\n"}}, "in /etc is not what it brought"),
            ({"answers": {f"cat {PARTS.needed}": None}}, "which imagebuild-layered needs, is not whole"),
        ],
    ),
    "a-layered-package-survives-an-upgrade": OnJourney(
        run=lambda journey: layering.test_a_layered_package_survives_an_upgrade(journey, "url"),
        broken=[
            ({"answers": {f"cat {PARTS.mark}": None}}, "did not run"),
            ({"layered_upgraded": HEALTHY_STOPS["upgraded"]}, "are layered"),
        ],
    ),
    "a-layered-package-can-be-removed": OnJourney(
        run=lambda journey: layering.test_a_layered_package_can_be_removed(journey, "url"),
        broken=[
            ({"unlayered": HEALTHY_STOPS["layered"]}, "still layered"),
            ({"answers": {"sh -c command -v": "/usr/bin/x\n"}}, "still there"),
            (
                {"answers": GONE | {f"getent passwd {PARTS.user}": f"{PARTS.user}:x:990:\n"}},
                "still in passwd",
            ),
            ({"answers": GONE | {f"test -e {PARTS.etc}": ""}}, f"still there: {PARTS.etc}"),
        ],
    ),
}
