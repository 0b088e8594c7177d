"""Hosts on which the criteria of test_container_service.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_container_service as service
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "container-service-starts": OnHost(
        run=lambda host, _: service.test_container_service_starts(host),
        broken=[
            ({"systemctl start docker.service": None}, "docker.service does not start"),
            ({"systemctl show podman.socket": "ActiveState=failed\n"}, "podman.socket is failed"),
            (
                {
                    "systemctl show docker.service": "LoadState=not-found\n",
                    "systemctl show podman.socket": "LoadState=not-found\n",
                },
                "has a unit",
            ),
            ({"sh -c command -v": None}, "neither docker nor podman"),
        ],
    ),
}
