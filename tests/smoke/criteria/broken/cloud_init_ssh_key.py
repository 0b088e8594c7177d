"""Hosts on which the criteria of test_cloud_init_ssh_key.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_cloud_init_ssh_key as ssh_key
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "cloud-init-passes-an-ssh-key": OnHost(
        run=ssh_key.test_cloud_init_passes_an_ssh_key,
        broken=[
            ({"cat /home/debian/.ssh/authorized_keys": "ssh-rsa else\n"}, "the seed's key is not in"),
            (
                {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "DataSourceNone", "errors": []}}'},
                "not the seed",
            ),
        ],
    ),
}
