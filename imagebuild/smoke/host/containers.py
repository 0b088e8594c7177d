"""Container runtimes of the host."""

from imagebuild.smoke.host.errors import NotTestedError
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.files import Files

# seconds at native speed
CONTAINER_SECONDS = 60.0


class Containers(Files):
    """Which runtimes there are, and the test's image in their storage."""

    def container_runtimes(self) -> list[str]:
        """Return which of docker and podman the host has."""
        return [name for name in ("docker", "podman") if self.has(name)]

    def pull_container_image(self, runtime: str, expected: Expected) -> str:
        """Pull the test's image from the test's registry, whose authority is made known before, if it is not
        there yet; return its name.
        """
        if expected.registry is None:
            raise NotTestedError(
                "there is no container image for it: neither this machine nor the tree has a static busybox"
                " for its architecture"
            )
        if (
            self.run(
                runtime, "inspect", expected.registry.image, seconds=CONTAINER_SECONDS, quiet=True
            ).status
            == 0
        ):
            return expected.registry.image
        for base in ("/etc/docker/certs.d", "/etc/containers/certs.d"):
            self.write(f"{base}/{expected.registry.address}/ca.crt", expected.registry.authority)
        self.succeeds(runtime, "pull", expected.registry.image, seconds=2 * CONTAINER_SECONDS)
        return expected.registry.image
