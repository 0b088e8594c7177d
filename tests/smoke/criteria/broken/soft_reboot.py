"""Hosts on which the criterion of test_soft_reboot.py fails, and how each says so."""

from imagebuild.smoke.criteria import test_soft_reboot as soft_reboot
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import SOFT, deployment
from tests.smoke.trials import COMMIT

HERE, OLD = deployment(SOFT, booted=True), deployment(COMMIT)

CASES: dict[str, Case] = {
    "soft-reboots-into-the-new-deployment": OnJourney(
        run=soft_reboot.test_soft_reboots_into_the_new_deployment,
        broken=[
            ({"same_kernel": False}, "the host was booted"),
            (
                {"soft_rebooted": {"deployments": (deployment(SOFT), deployment(COMMIT, booted=True))}},
                f"after the soft reboot {COMMIT} runs, not {SOFT}",
            ),
            ({"soft_rebooted": {"deployments": (OLD, OLD)}}, "no deployment runs"),
            (
                {"soft_rebooted": {"deployments": (deployment(SOFT, booted=True, version="1"),)}},
                "version '1' runs",
            ),
            ({"soft_rebooted": {"deployments": (OLD, HERE)}}, f"would be of {COMMIT}"),
            ({"soft_rebooted": {"var": False}}, "/var is gone"),
            ({"soft_rebooted": {"failed_units": ("x.service",)}}, "these units have failed: x.service"),
        ],
    ),
}
