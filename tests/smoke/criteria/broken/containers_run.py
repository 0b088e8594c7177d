"""Hosts on which the criteria of test_containers_run.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_containers_run as containers
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "containers-run": OnHost(
        run=containers.test_containers_run,
        broken=[
            ({"docker run": None}, "ended with 1"),
            ({"podman run": "goodbye\n"}, "said 'goodbye'"),
            ({"podman pull": None}, "podman pull"),
        ],
    ),
    "containers-have-a-network-and-volumes": OnHost(
        run=containers.test_containers_have_a_network_and_volumes,
        broken=[
            ({"docker run --rm -v": None}, "docker run --rm -v"),
            ({"podman run --rm --network=none -v": "\n"}, "next container of podman found ''"),
        ],
    ),
}
