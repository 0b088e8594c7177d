"""A shell on a guest through ssh(1), over one connection that is kept (ControlMaster): a handshake is dear under emulation."""

import contextlib
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.tools import command, temporary


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a program on the guest ended. `status` is 255 when the connection broke."""

    status: int
    output: str
    complaint: str
    seconds: float


def make_key(directory: Path) -> tuple[Path, str]:
    """Make an ed25519 key pair; return the private key's file and the public key's line."""
    key = directory / "id_ed25519"
    command.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "imagebuild-smoke-test", "-f", key])
    return key, key.with_suffix(".pub").read_text().strip()


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def greets(port: int) -> bool:
    """Whether an ssh server answers on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


class Shell:
    """Programs run on the guest as one user."""

    def __init__(self, *, user: str, port: int, key: Path) -> None:
        self._user, self._port, self._key = user, port, key
        self._kept = contextlib.ExitStack()
        self._directory = self._kept.enter_context(temporary.directory("ssh", sockets=True))

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        """Run a program; what it prints is text. A time-out counts as a broken connection."""
        begun = time.monotonic()
        process = command.Process([*self._ssh(), "--", shlex.join(argv)], stdin=stdin, quiet=True)
        try:
            status = process.wait(timeout)
        except TimeoutError:
            process.end(grace=0.5)
            return Answer(status=255, output=process.output(), complaint=f"no answer within {timeout:.0f} s", seconds=timeout)
        return Answer(status=status, output=process.output(), complaint=process.complaint(), seconds=time.monotonic() - begun)

    def command(self) -> str:
        """Return a command line with which a person gets in."""
        return shlex.join(str(word) for word in self._ssh())

    def drop(self) -> None:
        """End the kept connection: the next program makes a new one."""
        command.status([*self._ssh(), "-O", "exit"])

    def close(self) -> None:
        """End the kept connection for good."""
        self.drop()
        self._kept.close()

    def _ssh(self) -> list[str | Path]:
        options = (
            "BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null", "LogLevel=ERROR",
            "IdentitiesOnly=yes", "PasswordAuthentication=no", "ConnectTimeout=60", "ServerAliveInterval=30", "ServerAliveCountMax=10",
            "ControlMaster=auto", f"ControlPath={self._directory}/socket", "ControlPersist=600",
        )  # fmt: skip
        flags = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", *flags, "-i", self._key, "-p", str(self._port), f"{self._user}@127.0.0.1"]
