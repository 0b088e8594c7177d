"""Stand-ins for what a unit test cannot have: a host that answers as told. Everything else is real."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from imagebuild.guest import Expected, Host
from imagebuild.hosts.ostree import OstreeHost
from imagebuild.tools.ssh import Answer

COMMIT = "ab" * 32
EXPECTED = Expected(
    commit=COMMIT,
    version="12.3",
    refspec="debian-atomic:debian/12/x86_64/atomic-host",
    hostname="smoke-1234",
    user="debian",
    public_key="ssh-ed25519 AAAAC3Nz test",
    script_marker="imagebuild-1234",
    storage="podman-overlay",
)
BOOT_LINK = "/ostree/boot.1/debian-atomic/ffff/0"
DEPLOYED = f"/sysroot/ostree/deploy/debian-atomic/deploy/{COMMIT}.0"
PODMAN_INFO = (
    '{"store": {"graphDriverName": "overlay", "graphRoot": "/var/lib/containers/storage", "graphStatus": {"Supports d_type": "true"}}}'
)

# a healthy plain ostree host: the beginning of a command line -> what it prints (or None: it fails)
HEALTHY: dict[str, str | None] = {
    "cat /proc/cmdline": f"BOOT_IMAGE=/x root=/dev/mapper/atomicos-root ostree={BOOT_LINK}\n",
    f"readlink -f /sysroot{BOOT_LINK}": f"{DEPLOYED}\n",
    f"cat {DEPLOYED}.origin": "[origin]\nrefspec=debian-atomic:debian/12/x86_64/atomic-host\n",
    "ostree --repo=/sysroot/ostree/repo show": "'12.3'\n",
    "cat /run/cloud-init/result.json": '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}}',
    "uname -n": "smoke-1234\n",
    "cat /etc/hostname": "smoke-1234\n",
    "getent passwd debian": "debian:x:1000:1000::/home/debian:/bin/bash\n",
    "cat /home/debian/.ssh/authorized_keys": "ssh-ed25519 AAAAC3Nz test\n",
    "cat /var/tmp/imagebuild-user-script": "imagebuild-1234\n",
    "systemctl is-system-running": "running\n",
    "systemctl list-units": "",
    "systemctl show cloud-final.service": "ActiveState=activating\nLoadState=loaded\nUnitFileState=enabled\n",
    "systemctl show docker.service": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl show podman.socket": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl start": "",
    "sh -c command -v": "/usr/bin/x\n",
    "podman info": PODMAN_INFO,
    "findmnt": "/dev/mapper/atomicos-root[/ostree/deploy/debian-atomic/var]\n",
    "docker load": "Loaded\n",
    "podman load": "Loaded\n",
    "docker run": "hello from a container\n",
    "podman run": "hello from a container\n",
}


@dataclass
class FakeTransport:
    """Answers from a table: the longest beginning that fits. What is not in the table fails like a missing program."""

    answers: dict[str, str | None]
    ran: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:]) if list(argv[:2]) == ["sudo", "-n"] else list(argv)
        line = " ".join(words)
        self.ran.append(line)
        fits = [beginning for beginning in self.answers if line.startswith(beginning)]
        said = self.answers[max(fits, key=len)] if fits else None
        if said is None:
            return Answer(status=1, output="", complaint=f"{words[0]}: no\n", seconds=0.0)
        return Answer(status=0, output=said, complaint="", seconds=0.0)


def host(**broken: str | None) -> Host:
    """Return a healthy host, changed by `broken`."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)


def broken_host(broken: dict[str, str | None]) -> Host:
    """Return a healthy host with these answers changed."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)
