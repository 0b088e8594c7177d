"""Hosts on which the criteria of test_upgrade.py fail, and how each says so."""

from dataclasses import replace

from imagebuild.smoke.criteria import test_upgrade as upgrade
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import HEALTHY_STOPS, NEXT, REFUSED, deployment
from tests.smoke.trials import COMMIT

CASES: dict[str, Case] = {
    "upgrades-to-the-next-release": OnJourney(
        run=upgrade.test_upgrades_to_the_next_release,
        broken=[
            ({"upgraded": HEALTHY_STOPS["start"]}, f"after the upgrade {COMMIT} runs"),
            (
                {
                    "upgraded": {
                        "deployments": (deployment(NEXT, booted=True, origin=NEXT), deployment(COMMIT))
                    }
                },
                "would upgrade from",
            ),
            ({"upgraded": {"deployments": (deployment(NEXT, booted=True),)}}, "there is no way back"),
            ({"upgraded": {"initramfs": ""}}, "one without a mark instead of the one of release 'next'"),
            ({"upgraded": {"failed_units": ("x.service",)}}, "have failed: x.service"),
        ],
    ),
    "refuses-an-unsigned-upgrade": OnJourney(
        run=upgrade.test_refuses_an_unsigned_upgrade,
        broken=[
            ({"refusal": replace(REFUSED, status=0)}, "nobody signed"),
            (
                {"refusal": replace(REFUSED, complaint="error: Server returned HTTP 404")},
                "not for its signature",
            ),
            ({"deployed": True}, "changed the host's deployments"),
        ],
    ),
    "upgrades-from-the-previous-release": OnJourney(
        run=lambda journey: upgrade.test_upgrades_from_the_previous_release(journey, None),
        broken=[
            ({"from_previous": HEALTHY_STOPS["older_on_fresh"]}, "the host came to"),
            ({"from_previous": {"initramfs": "older"}}, "runs with another initramfs"),
        ],
    ),
}
