"""Hosts on which the criterion of test_power_cut.py fails, and how each says so."""

from imagebuild.smoke.criteria import test_power_cut as power_cut
from imagebuild.tools.ssh import Answer
from tests.smoke.criteria.cases import Case, OnJourney
from tests.smoke.told_journey import OLDER
from tests.smoke.trials import COMMIT

REFUSED = Answer(status=1, output="", complaint="error: corrupted file object", seconds=0.0)

CASES: dict[str, Case] = {
    "survives-a-power-cut": OnJourney(
        run=power_cut.test_survives_a_power_cut,
        broken=[
            (
                {"survival": {"menus": {"at the flush 3": "the boot loader has no entry"}}},
                "may leave, 1 would not boot (seed 1): at the flush 3: the boot loader has no entry",
            ),
            (
                {"survival": {"problem": "the kernel panicked"}},
                "does not come up (seed 1, cut at the flush 7): the kernel panicked",
            ),
            ({"survival": {"booted": OLDER}}, "which is neither release"),
            ({"survival": {"fsck": "error: corrupted file object"}}, "damages the repository"),
            ({"survival": {"fsck": ""}}, "damages the repository"),
            ({"survival": {"kept": False}}, "takes along what was written long before"),
            ({"survival": {"failed_units": ("x.service",)}}, "units have failed"),
            ({"survival": {"again": REFUSED}}, "cannot be done again"),
            ({"survival": {"next": COMMIT}}, f"done again, leads to {COMMIT}"),
        ],
    ),
}
