"""The container runtime runs containers (their image comes from the build host; no network is needed)."""

from imagebuild.guest import CONTAINER_IMAGE, Host


def test_containers_run(host: Host) -> None:
    runtimes = host.container_runtimes()
    assert runtimes, "the tree has neither docker nor podman"
    for runtime in runtimes:
        host.load_container_image(runtime)
        said = host.succeeds(runtime, "run", "--rm", "--network=none", CONTAINER_IMAGE, "echo", "hello from a container", seconds=60)
        assert said.strip() == "hello from a container", f"a container of {runtime} said {said.strip()!r}"
