"""Containers that systemd starts: units of podman (Quadlet where the host has it), and `atomic`'s system
containers.
"""

import json

from imagebuild.smoke.host.containers import CONTAINER_SECONDS
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.tools import oci

NAME = "imagebuild-container"
CONTAINER_UNIT = f"{NAME}.service"
# podman-systemd.unit(5), since podman 4.4
QUADLET = "/usr/lib/systemd/system-generators/podman-system-generator"
UNIT = """[Unit]
Description=A container of a test
After=network-online.target

[Service]
ExecStartPre=-/usr/bin/podman rm -f {name}
ExecStart=/usr/bin/podman run --rm --name {name} --network=none {image} sh -c "{command}"
ExecStop=/usr/bin/podman stop {name}

[Install]
WantedBy=multi-user.target
"""
SYSTEM_NAME = "imagebuild-system"
SYSTEM_UNIT = f"{SYSTEM_NAME}.service"
# what the test has brought: whether these run is asked by criteria of their own, and no failure of the host's
TEST_UNITS = (CONTAINER_UNIT, SYSTEM_UNIT)
ARCHIVE = "/var/tmp/imagebuild-system.tar"
# the first process of a container gets no signal that it does not ask for: without the trap every stop takes
# ten seconds
WAIT = ("sh", "-c", "trap exit TERM; sleep 1000000 & wait")


def start_container_unit(host: Host, expected: Expected) -> str:
    """Start a container as a unit that later boots start, too; return the unit's name, or nothing on a host
    without podman.
    """
    if not host.has("podman"):
        return ""
    image = host.pull_container_image("podman", expected)
    if host.is_there(QUADLET):
        text = (
            f"[Container]\nImage={image}\nExec={WAIT[0]} {WAIT[1]}"
            f' "{WAIT[2]}"\nNetwork=none\n\n[Install]\nWantedBy=multi-user.target\n'
        )
        host.write(f"/etc/containers/systemd/{NAME}.container", text)
        host.succeeds("systemctl", "daemon-reload")
        host.succeeds("systemctl", "start", CONTAINER_UNIT, seconds=CONTAINER_SECONDS)
        return CONTAINER_UNIT
    # before Quadlet: a unit by hand, which every podman understands
    host.write(f"/etc/systemd/system/{CONTAINER_UNIT}", UNIT.format(name=NAME, image=image, command=WAIT[2]))
    host.succeeds("systemctl", "daemon-reload")
    host.succeeds("systemctl", "enable", "--now", CONTAINER_UNIT, seconds=CONTAINER_SECONDS)
    return CONTAINER_UNIT


def start_system_container(host: Host) -> str:
    """Pull, install and start a system container; return its unit, or nothing on a host without the `atomic`
    command.
    """
    if not host.has("atomic"):
        return ""
    host.succeeds(
        "sh",
        "-c",
        'cat > "$1"',
        "sh",
        ARCHIVE,
        stdin=oci.system_container_archive(),
        seconds=CONTAINER_SECONDS,
    )
    # no registry, and so no network, is needed for a local archive (atomic 1.19, Atomic/pull.py: transport
    # `dockertar`)
    host.succeeds(
        "atomic", "pull", "--storage", "ostree", f"dockertar:/{ARCHIVE}", seconds=2 * CONTAINER_SECONDS
    )
    host.succeeds(
        "atomic",
        "install",
        "--system",
        f"--name={SYSTEM_NAME}",
        oci.SYSTEM_NAME,
        seconds=2 * CONTAINER_SECONDS,
    )
    host.succeeds("systemctl", "start", SYSTEM_UNIT, seconds=CONTAINER_SECONDS)
    return SYSTEM_UNIT


def system_containers(host: Host) -> list[str]:
    """Return the names of the host's system containers."""
    listing = host.succeeds(
        "atomic", "containers", "list", "--all", "--no-trunc", "--json", seconds=CONTAINER_SECONDS
    )
    return [
        str(each.get("container_name") or each.get("container") or each.get("id"))
        for each in json.loads(listing or "[]")
    ]
