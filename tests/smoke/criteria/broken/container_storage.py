"""Hosts on which the criteria of test_container_storage.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_container_storage as storage
from tests.smoke.criteria.cases import Case, OnHost, OnJourney
from tests.smoke.healthy_host import HEALTHY

CASES: dict[str, Case] = {
    "container-storage-is-set-up": OnHost(
        run=storage.test_container_storage_is_set_up,
        broken=[
            ({"podman info": '{"store": {"graphDriverName": "vfs"}}'}, "'vfs', not 'overlay'"),
            (
                {
                    "podman info": (
                        HEALTHY["podman info"].replace('"true"', '"false"')
                        if HEALTHY["podman info"]
                        else None
                    )
                },
                "d_type",
            ),
            (
                {"podman info": '{"store": {"graphDriverName": "overlay", "graphRoot": "/tmp/x"}}'},
                "keeps its images in '/tmp/x'",
            ),
            ({"findmnt -n -o SOURCE -T /var/lib/containers/storage": "tmpfs\n"}, "lies on tmpfs"),
        ],
    ),
    "a-second-boot-leaves-storage-unchanged": OnJourney(
        run=storage.test_a_second_boot_leaves_storage_unchanged,
        broken=[
            ({"upgraded": {"storage": "vdb"}}, "a second boot changed"),
        ],
    ),
}
