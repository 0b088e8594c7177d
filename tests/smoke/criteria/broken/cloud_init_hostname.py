"""Hosts on which the criteria of test_cloud_init_hostname.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_cloud_init_hostname as hostname
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "cloud-init-sets-the-hostname": OnHost(
        run=hostname.test_cloud_init_sets_the_hostname,
        broken=[
            ({"uname -n": "localhost\n"}, "calls itself 'localhost'"),
            ({"cat /etc/hostname": None}, "lost at the next boot"),
            ({"cat /run/cloud-init/result.json": None}, "did not write"),
        ],
    ),
}
