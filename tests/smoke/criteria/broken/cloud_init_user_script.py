"""Hosts on which the criteria of test_cloud_init_user_script.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_cloud_init_user_script as user_script
from tests.smoke.criteria.cases import Case, OnHost, OnJourney

CASES: dict[str, Case] = {
    "cloud-init-runs-the-user-script": OnHost(
        run=user_script.test_cloud_init_runs_the_user_script,
        broken=[
            ({"cat /var/tmp/imagebuild-user-script": None}, "did not run"),
            (
                {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "NoCloud", "errors": ["bad"]}}'},
                "reports errors",
            ),
            (
                {
                    "cat /run/cloud-init/result.json": None,
                    "systemctl show cloud-final.service": "LoadState=masked\n",
                },
                "masked",
            ),
            (
                {
                    "cat /run/cloud-init/result.json": None,
                    "systemctl show cloud-final.service": "ActiveState=failed\n",
                },
                "has failed",
            ),
        ],
    ),
    "cloud-init-does-not-run-scripts-again": OnJourney(
        run=user_script.test_cloud_init_does_not_run_scripts_again,
        broken=[
            ({"upgraded": {"script_runs": (1, 2)}}, "have run (1, 2) times"),
            ({"upgraded": {"hostname": "localhost"}}, "calls itself 'localhost'"),
        ],
    ),
}
