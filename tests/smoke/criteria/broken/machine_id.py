"""Hosts on which the criteria of test_machine_id.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_machine_id as machine_id
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "the-machine-id-is-unique": OnHost(
        run=lambda host, _: machine_id.test_the_machine_id_is_unique(host, ("cd" * 16,)),
        broken=[
            ({"cat /etc/machine-id": "cd" * 16}, "has the same machine-id"),
            ({"cat /etc/machine-id": "uninitialized\n"}, "holds 'uninitialized'"),
        ],
    ),
}
