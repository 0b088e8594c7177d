"""The container runtime runs containers: pulled from a registry, with a network, and with a volume that keeps
what they write.
"""

import secrets

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.containers import CONTAINER_SECONDS
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.CONTAINERS,
    about="Containers are pulled from a registry and run.",
)
def test_containers_run(host: Host, expected: Expected) -> None:
    for runtime in _runtimes(host):
        image = host.pull_container_image(runtime, expected)
        said = host.succeeds(
            runtime,
            "run",
            "--rm",
            "--network=none",
            image,
            "echo",
            "hello from a container",
            seconds=CONTAINER_SECONDS,
        )
        assert said.strip() == "hello from a container", f"a container of {runtime} said {said.strip()!r}"


@criterion(
    group=Group.CONTAINERS,
    about="Containers have a network, and volumes keep what they write.",
)
def test_containers_have_a_network_and_volumes(host: Host, expected: Expected) -> None:
    for runtime in _runtimes(host):
        image, volume = (
            host.pull_container_image(runtime, expected),
            f"imagebuild-{secrets.token_hex(4)}:/data",
        )
        host.succeeds(
            runtime,
            "run",
            "--rm",
            "-v",
            volume,
            image,
            "wget",
            "-O",
            "/data/page",
            expected.web,
            seconds=CONTAINER_SECONDS,
        )
        kept = host.succeeds(
            runtime,
            "run",
            "--rm",
            "--network=none",
            "-v",
            volume,
            image,
            "cat",
            "/data/page",
            seconds=CONTAINER_SECONDS,
        )
        assert kept.strip() == "hello from the builder", (
            f"the next container of {runtime} found {kept.strip()!r} in the volume"
        )


def _runtimes(host: Host) -> list[str]:
    runtimes = host.container_runtimes()
    assert runtimes, "the tree has neither docker nor podman"
    return runtimes
