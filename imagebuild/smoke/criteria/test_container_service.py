"""The container runtime's service starts."""

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.words import Host

UNITS = {"docker": "docker.service", "podman": "podman.socket"}


@criterion(
    group=Group.CONTAINERS,
    about="The container runtime's service starts.",
)
def test_container_service_starts(host: Host) -> None:
    runtimes = host.container_runtimes()
    assert runtimes, "the tree has neither docker nor podman"
    # podman of old has no socket, and needs none
    found = [
        runtime
        for runtime in runtimes
        if host.unit(UNITS[runtime], "LoadState").get("LoadState") != "not-found"
    ]
    assert found, f"none of {', '.join(runtimes)} has a unit"
    for runtime in found:
        answer = host.run("systemctl", "start", UNITS[runtime], seconds=60)
        state = host.unit(UNITS[runtime], "ActiveState", "LoadState", "Result")
        assert answer.status == 0, f"{UNITS[runtime]} does not start ({state}): {answer.complaint.strip()}"
        assert state["ActiveState"] == "active", f"{UNITS[runtime]} is {state['ActiveState']} after its start"
