"""A healthy host under test that answers from a table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from imagebuild.smoke.host.words import Host
from imagebuild.smoke.hosts.ostree import OstreeHost
from imagebuild.tools import vagrant_key
from imagebuild.tools.ssh import Answer
from tests.smoke.access_answers import ACCESS, ACCESS_OF_A_BOX
from tests.smoke.trials import COMMIT

BOOT_LINK = "/ostree/boot.1/debian-atomic/ffff/0"
DEPLOYED = f"/sysroot/ostree/deploy/debian-atomic/deploy/{COMMIT}.0"
PODMAN_INFO = (
    '{"store": {"graphDriverName": "overlay", "graphRoot": "/var/lib/containers/storage", "graphStatus":'
    ' {"Supports d_type": "true"}}}'
)

# a healthy plain ostree host: the beginning of a command line -> what it prints (or None: it fails)
HEALTHY: dict[str, str | None] = {
    **ACCESS,
    "sh -c cat /boot/loader/entries/": (
        f"title A\nversion 1\noptions root=/dev/mapper/atomicos-root ostree={BOOT_LINK}\nlinux /x\n"
    ),
    f"readlink -f /sysroot{BOOT_LINK}": f"{DEPLOYED}\n",
    "sh -c stat -L": f"1:2 /\n1:2 {DEPLOYED}\n1:3 {DEPLOYED}.origin\n",
    f"cat {DEPLOYED}.origin": "[origin]\nrefspec=debian-atomic:debian/12/x86_64/atomic-host\n",
    "ostree --repo=/sysroot/ostree/repo show": "'12.3'\n",
    # Debian 12's kernel 6.1 under OVMF 2022.11 with enrolled keys
    **{
        f"od -A n -t u1 /sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c": answer
        for name, answer in (
            ("SecureBoot", "   6   0   0   0   1\n"),
            ("SetupMode", "   6   0   0   0   0\n"),
        )
    },
    "cat /sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "cat /proc/cmdline": "root=/dev/mapper/atomicos-root\n",
    "cat /run/cloud-init/result.json": (
        '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}}'
    ),
    "cat /etc/ostree/remotes.d/debian-atomic.conf": (
        "[remote"
        ' "debian-atomic"]\nurl=https://ostree.example.org/debian\ngpg-verify=true\ngpgkeypath=/usr/share/ostree/debian-atomic.asc\n'
    ),
    "test -s /usr/share/ostree/debian-atomic.asc": "",
    "uname -n": "smoke-1234\n",
    "cat /etc/hostname": "smoke-1234\n",
    "getent passwd debian": "debian:x:1000:1000::/home/debian:/bin/bash\n",
    "cat /home/debian/.ssh/authorized_keys": "ssh-ed25519 AAAAC3Nz test\n",
    "cat /var/tmp/imagebuild-user-script": "imagebuild-1234\n",
    "cat /var/tmp/imagebuild-runcmd": "imagebuild-1234\n",
    "cat /etc/machine-id": "ab" * 16 + "\n",
    "stat -L -c %a /tmp": "1777\n",
    "date +%s": "0\n",
    "mkdir": "",
    "sh -c \nset -eu\nrm -rf": "",
    "unshare --mount": "",
    "podman volume ls": "",
    "sh -c cat >": "",
    "lsblk --noheadings --list --inverse": "atomicos-root lvm\nvda4 part\nvda disk\n",
    "lsblk --noheadings --list --bytes": (
        "vda 7516192768 disk\nvda1 379584512 part\nvda4 7132397056 part\natomicos-root 7130316800 lvm\n"
    ),
    "pvs": f"  {7132397056 - 4194304}\n",
    "journalctl": "",
    "systemctl is-system-running": "running\n",
    "systemctl list-units": "",
    "systemctl show cloud-final.service": "ActiveState=activating\nLoadState=loaded\nUnitFileState=enabled\n",
    "findmnt -b -n -o SIZE /sysroot": "7000000000\n",
    "systemctl show docker.service": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl show podman.socket": "ActiveState=active\nLoadState=loaded\nResult=success\n",
    "systemctl start": "",
    "sh -c command -v": "/usr/bin/x\n",
    "podman info": PODMAN_INFO,
    "findmnt": "/dev/mapper/atomicos-root[/ostree/deploy/debian-atomic/var]\n",
    "docker pull": "x\n",
    "podman pull": "x\n",
    **{f"{name} run --rm --network=none -v": "hello from the builder\n" for name in ("docker", "podman")},
    "sh -c # what units do": "NRestarts=0\nId=a.service\nActiveState=active\n\n=jobs\n=restarts\n",
    "sh -c # where the journal is kept": (
        "=file /etc/systemd/journald.conf\n=made\n0\n=places\n/run/log/journal\n=boots\n"
        " 0 0d7a3f0d5b1e4e0f8c7a9c1fd3a5b7e9 Sat 2026-11-28 06:11:02 UTC Sat 2026-11-28 06:14:40 UTC\n"
    ),
    "sh -c # what can be written": "looked\n",
    "sh -c # what the boot has left": "looked\0",
    "sh -c # what the network gives": (
        "=address\n198.51.100.7    STREAM x.test\n=resolv\nnameserver 127.0.0.53\n\n=keepers\n"
        "systemd-timesyncd.service active\n=clock\nSystem clock synchronized: yes\n0\n"
    ),
    "python3 - /sysroot/ostree/repo": "compared 2022 names and 150 contents, 0 differ\n",
    "docker run": "hello from a container\n",
    "podman run": "hello from a container\n",
}


# a healthy Vagrant box: what is different
HEALTHY_BOX: dict[str, str | None] = {
    **ACCESS_OF_A_BOX,
    "getent passwd vagrant": "vagrant:x:1000:1000::/home/vagrant:/bin/bash\n",
    "cat /home/vagrant/.ssh/authorized_keys": vagrant_key.PUBLIC + "\n",
    "stat -c %a %U": "700 vagrant\n600 vagrant\n",
    "id -un": "root\n",
    **{
        f"systemctl show cloud-{unit}.service": "LoadState=masked\n"
        for unit in ("init-main", "init-local", "init", "init-network", "config", "final")
    },
}


@dataclass
class FakeTransport:
    """Answers from a table: the longest beginning that fits. What is not in the table fails like a missing
    program.
    """

    answers: dict[str, str | None]
    ran: list[str] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        words = list(argv[3:]) if list(argv[:2]) == ["sudo", "-n"] else list(argv)
        line = " ".join(words)
        self.ran.append(line)
        fits = [beginning for beginning in self.answers if line.startswith(beginning)]
        said = self.answers[max(fits, key=len)] if fits else None
        if said is None:
            return Answer(
                status=2 if words[0] == "getent" else 1, output="", complaint=f"{words[0]}: no\n", seconds=0.0
            )
        return Answer(status=0, output=said, complaint="", seconds=0.0)


def host(**broken: str | None) -> Host:
    """Return a healthy host, changed by `broken`."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)


def broken_host(broken: dict[str, str | None]) -> Host:
    """Return a healthy host with these answers changed."""
    return Host(transport=FakeTransport(HEALTHY | broken), commands=OstreeHost(), slowness=0.0)
