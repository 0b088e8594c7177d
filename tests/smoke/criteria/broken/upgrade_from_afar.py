"""Hosts on which the criteria of test_upgrade_from_afar.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_upgrade_from_afar as afar
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import HEALTHY_STOPS, OLDER

CASES: dict[str, Case] = {
    "upgrades-from-an-older-release": OnJourney(
        run=lambda journey: afar.test_upgrades_from_an_older_release(journey, "12-1"),
        broken=[
            ({"asleep": HEALTHY_STOPS["start"]}, "deployed 0d, but"),
            ({"awake": HEALTHY_STOPS["asleep"]}, f"coming from 0d, the host came to {OLDER}"),
            ({"awake": {"initramfs": "older"}}, "runs with another initramfs"),
            ({"awake": {"failed_units": ("x.service",)}}, "these units have failed: x.service"),
        ],
    ),
    "upgrades-from-the-release-line-before": OnJourney(
        run=afar.test_upgrades_from_the_release_line_before,
        broken=[
            ({"on_line_before": HEALTHY_STOPS["start"]}, "switched to"),
            ({"from_line_before": HEALTHY_STOPS["on_line_before"]}, f"the host came to {OLDER}"),
            ({"from_line_before": {"deltas_read": ()}}, "did not ask for the static delta"),
            ({"from_line_before": {"failed_units": ("x.service",)}}, "these units have failed"),
        ],
    ),
}
