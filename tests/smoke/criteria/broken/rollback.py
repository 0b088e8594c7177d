"""Hosts on which the criteria of test_rollback.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_rollback as rollback
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import HEALTHY_STOPS, deployment
from tests.smoke.trials import COMMIT

CASES: dict[str, Case] = {
    "rolls-back-to-where-it-came-from": OnJourney(
        run=rollback.test_rolls_back_to_where_it_came_from,
        broken=[
            ({"rolled_back": HEALTHY_STOPS["upgraded"]}, "after the rollback"),
            (
                {"rolled_back": {"deployments": (deployment(COMMIT, booted=True, origin=COMMIT),)}},
                "would upgrade from",
            ),
            (
                {"rolled_back": {"initramfs": "next"}},
                "the one of release 'next' instead of one without a mark",
            ),
        ],
    ),
    "etc-follows-the-deployment": OnJourney(
        run=rollback.test_etc_follows_the_deployment,
        broken=[
            ({"upgraded": {"before": False}}, "before the upgrade is gone after it"),
            ({"rolled_back": {"before": False}}, "gone after the rollback"),
            ({"rolled_back": {"after": True}}, "still there after the rollback"),
        ],
    ),
    "var-and-container-data-stay": OnJourney(
        run=rollback.test_var_and_container_data_stay,
        broken=[
            ({"rolled_back": {"var": False}}, "/var is gone after the rollback"),
            ({"upgraded": {"volume": ""}}, "volume holds ''"),
            ({"problems": {"volume": "podman run failed"}}, "could keep anything"),
            ({"rolled_back": {"machine_id": "cd" * 16}}, "machine-id changed"),
        ],
    ),
    "upgrades-again-after-a-rollback": OnJourney(
        run=rollback.test_upgrades_again_after_a_rollback,
        broken=[
            ({"forward": {"initramfs": ""}}, "runs with another initramfs"),
            ({"forward": HEALTHY_STOPS["rolled_back"]}, "does not get forward again"),
        ],
    ),
}
