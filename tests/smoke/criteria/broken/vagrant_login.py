"""Hosts on which the criteria of test_vagrant_login.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_vagrant_login as vagrant_login
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "vagrant-logs-in-with-the-insecure-key": OnHost(
        run=vagrant_login.test_vagrant_logs_in_with_the_insecure_key,
        broken=[
            (
                {"sh -c grep": "/var/roothome/.ssh/authorized_keys\n"},
                "opens an image that is not a Vagrant box",
            ),
            (
                {
                    "sh -c grep": None,
                    "getent passwd vagrant": "vagrant:x:1000:1000::/home/vagrant:/bin/bash\n",
                },
                "has the user vagrant",
            ),
        ],
    ),
}
