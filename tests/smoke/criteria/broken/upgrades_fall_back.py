"""Hosts on which the criterion of test_upgrades_fall_back.py fails, and how each says so."""

from imagebuild.smoke.criteria import test_upgrades_fall_back as fall_back
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import NEXT, deployment
from tests.smoke.trials import COMMIT

CASES: dict[str, Case] = {
    "falls-back": OnJourney(
        run=fall_back.test_falls_back,
        broken=[
            (
                {"fall": {"after": deployment(NEXT, booted=True)}, "answers": {"systemctl cat": "[Unit]\n"}},
                f"greenboot: after 4 boots {NEXT} runs, and not {COMMIT}",
            ),
            (
                {"fall": {"boots": 1}, "answers": {"systemctl cat": "[Unit]\n"}},
                "reboots itself for ever came up",
            ),
            (
                {
                    "fall": {"after": deployment(COMMIT, booted=True, origin=COMMIT)},
                    "answers": {"systemctl cat": "[Unit]\n"},
                },
                "would upgrade from",
            ),
        ],
    ),
}
