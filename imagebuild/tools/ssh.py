"""A shell on a guest through ssh(1), over one connection that is kept (ControlMaster): a handshake is dear
under emulation.
"""

import contextlib
import re
import shlex
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.tools import command, temporary

# begins the complaint of an answer that did not come
NO_ANSWER = "no answer"
# a wait that begins: what it returns is asked again and again with the characters printed so far, and says
# why nobody should wait longer; None: wait on
Patience = Callable[[float], Callable[[int], str | None]]
LOOK_SECONDS = 2.0
# what ssh says when it never got in: the program was not begun (OpenSSH: sshconnect.c, kex.c, packet.c,
# readconf.c)
NEVER_IN = re.compile(
    r"banner exchange|kex_exchange_identification|ssh_exchange_identification|ssh: connect to host|Connection"
    r" (refused|timed out)"
    r"|Connection (reset|closed) by \S+ port \d+"
)
# and when it was in (clientloop.c, mux.c)
BROKE = re.compile(
    r"client_loop: |mux_client|[Cc]onnection to \S+ closed|Timeout, server|Broken pipe|packet_write_wait|read"
    r" from master failed"
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a program on the guest ended. `status` is 255 when the connection broke."""

    status: int
    output: str
    complaint: str
    seconds: float

    @property
    def late(self) -> bool:
        """Whether there was no answer at all: nobody waited longer."""
        return self.status == 255 and self.complaint.startswith(NO_ANSWER)

    @property
    def never_begun(self) -> bool:
        """Whether ssh did not get in: the program was never begun, and may be run again."""
        return self.status == 255 and not self.late and NEVER_IN.search(self.complaint) is not None

    @property
    def cut_off(self) -> bool:
        """Whether the connection broke; a program that itself ends with 255 has nothing of ssh's in its
        complaint.
        """
        return (
            self.status == 255
            and not self.late
            and (not self.complaint.strip() or self.never_begun or BROKE.search(self.complaint) is not None)
        )


def by_the_clock(timeout: float) -> Callable[[int], str | None]:
    """Wait for so many seconds, whatever goes on."""
    deadline = time.monotonic() + timeout
    return lambda _: f"{NO_ANSWER} within {timeout:.0f} s" if time.monotonic() > deadline else None


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

    def __init__(self, *, user: str, port: int, key: Path, patience: Patience = by_the_clock) -> None:
        self._user, self._port, self._key, self._patience = user, port, key, patience
        self._kept = contextlib.ExitStack()
        self._directory = self._kept.enter_context(temporary.directory("ssh", sockets=True))

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float) -> Answer:
        """Run a program; what it prints is text. A time-out (see `patience`) has status 255, as a broken
        connection has.
        """
        begun = time.monotonic()
        over = self._patience(timeout)
        process = command.Process([*self._ssh(), "--", shlex.join(argv)], stdin=stdin, quiet=True)
        while True:
            try:
                status = process.wait(min(LOOK_SECONDS, timeout))
            except TimeoutError:
                if why := over(len(process.output()) + len(process.complaint())):
                    process.end(grace=0.5)
                    return Answer(
                        status=255, output=process.output(), complaint=why, seconds=time.monotonic() - begun
                    )
                continue
            return Answer(
                status=status,
                output=process.output(),
                complaint=process.complaint(),
                seconds=time.monotonic() - begun,
            )

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
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "GlobalKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            # not -i, which looks for the file before it reads the tokens in its name (ssh.c of 9.2)
            f"IdentityFile={_word(self._key)}",
            "IdentitiesOnly=yes",
            "PasswordAuthentication=no",
            "ConnectTimeout=60",
            "ServerAliveInterval=30",
            "ServerAliveCountMax=10",
            "ControlMaster=auto",
            f"ControlPath={_word(self._directory / 'socket')}",
            "ControlPersist=600",
        )
        flags = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", *flags, "-p", str(self._port), f"{self._user}@127.0.0.1"]


def _word(path: Path) -> str:
    """Return a path as one word of an option's value, where `%` begins a token, and blanks and `#` end words
    (ssh_config(5), readconf.c).
    """
    escaped = str(path).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
