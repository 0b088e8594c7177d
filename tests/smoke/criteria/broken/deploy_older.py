"""Hosts on which the criteria of test_deploy_older.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_deploy_older as deploy_older
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import HEALTHY_STOPS, NEXT, OLDER, deployment
from tests.smoke.trials import COMMIT

CASES: dict[str, Case] = {
    "deploys-an-older-release-when-fresh": OnJourney(
        run=deploy_older.test_deploys_an_older_release_when_fresh,
        broken=[
            ({"older_on_fresh": {"initramfs": ""}}, "runs with another initramfs"),
            ({"lost": "the history ends"}, "`Version 0d not found`: the history ends"),
            ({"older_on_fresh": HEALTHY_STOPS["start"]}, "deployed 0d, but"),
            (
                {
                    "older_on_fresh": {
                        "deployments": (deployment(OLDER, booted=True, origin=OLDER), deployment(COMMIT))
                    }
                },
                "would upgrade",
            ),
        ],
    ),
    "deploys-an-older-release-when-upgraded": OnJourney(
        run=deploy_older.test_deploys_an_older_release_when_upgraded,
        broken=[
            ({"older_on_upgraded": {"initramfs": "next"}}, "runs with another initramfs"),
            (
                {"older_on_upgraded": {"deployments": (deployment(NEXT), deployment(COMMIT, booted=True))}},
                "next boot",
            ),
            (
                {"older_on_upgraded": {"deployments": (deployment(COMMIT, booted=True),)}},
                "no deployment to go back",
            ),
        ],
    ),
}
