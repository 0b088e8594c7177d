"""Shells for a person: the rescue shell, one after a failure, and ssh while an installation runs
(`inst.sshd`).
"""

import secrets
import string
from pathlib import Path

from imagebuild.deploy.local import INSTALL
from imagebuild.live.terminal import Terminal, consoles
from imagebuild.tools import command

HOST_KEY = INSTALL / "ssh_host_ed25519_key"
CONFIG = INSTALL / "sshd_config"
PASSWORD_LENGTH = 12


def rescue(terminal: Terminal) -> None:
    """Give every console a shell; return when one of them has ended."""
    terminal.say(
        "Rescue shell. The tree's own programs are here; nothing of the machine is mounted: `lsblk`,"
        " `vgchange -ay`, `mount` …\nLeave it with `exit` to reboot."
    )
    _shells()


def after_failure(terminal: Terminal) -> None:
    """Offer a shell after a failure, until somebody wants to go on."""
    if terminal.ask("Press Enter for a shell, or type `reboot`:") != "reboot":
        _shells()


def _shells() -> None:
    shells = [
        command.Process(
            ["agetty", "--noclear", "--skip-login", "--login-program", "/bin/bash", device.name, "linux"],
            quiet=True,
        )
        for device in consoles()
    ]
    while shells and all(each.alive for each in shells):
        try:
            shells[0].wait(1)
        except TimeoutError:
            continue
    for each in shells:
        each.end()


def start_sshd(terminal: Terminal) -> None:
    """Let root in by ssh with a password that only this machine's consoles show: Anaconda's has none."""
    letters = string.ascii_lowercase + string.digits
    password = "".join(secrets.choice(letters) for _ in range(PASSWORD_LENGTH))
    command.run(["chpasswd"], stdin=f"root:{password}\n".encode(), quiet=True)
    command.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", HOST_KEY], quiet=True)
    CONFIG.write_text(
        f"HostKey {HOST_KEY}\nPermitRootLogin yes\nPasswordAuthentication yes\nUsePAM no\nPidFile none\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    command.run(["/usr/sbin/sshd", "-f", CONFIG])
    terminal.say(f"ssh is open for root, password {password}")
