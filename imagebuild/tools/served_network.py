"""A network for one guest, in namespaces of its own: an address by DHCP, names, and the time; no way out.

QEMU's own network with `restrict=on` drops UDP, so that no name and no time server is reached there. Here the
guest's card is a tap device in a user and a network namespace that hold nothing else but dnsmasq and our time
server (`time_server`), and no route leads anywhere.
"""

import contextlib
import ipaddress
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, namespace
from imagebuild.tools.qemu.machine import Tap

TUN = Path("/dev/net/tun")
SERVER, GUEST, MASK = "10.0.3.2", "10.0.3.15", 24
DEVICE = "tap0"
TIME_PORT, SSH_PORT = 123, 22
START_SECONDS = 10.0
# how dnsmasq says that it serves (2.90, src/dnsmasq.c and src/dhcp.c, with --log-facility=-)
SERVES = "DHCP, IP range"


@dataclass(frozen=True, kw_only=True)
class ServedNetwork:
    """A network that is served: `tap` is what a machine's card is, `to_guest` the argv of a program whose
    input and output are a connection to the guest's ssh.
    """

    tap: Tap
    to_guest: tuple[str, ...]


def reason_unavailable() -> str | None:
    """Return why there can be no such network here; None when it can be tried."""
    if not TUN.exists():
        return f"the builder has no {TUN}"
    for program in ("dnsmasq", "busybox", "nsenter", "unshare"):
        if command.find(program) is None:
            return f"{program} is not installed"
    return namespace.mapping_unavailable()


@contextlib.contextmanager
def served(names: dict[str, str], log: Path) -> Iterator[ServedNetwork]:
    """Serve a network until the block ends. `names` maps names to addresses (IPv4); all others are the
    server's own, so that every time server is ours. `log` takes what dnsmasq does. Raises BuildError.
    """
    with namespace.mapped() as space:
        for words in (
            f"tunctl -t {DEVICE}",
            f"ip address add {SERVER}/{MASK} dev {DEVICE}",
            f"ip link set {DEVICE} up",
            "ip link set lo up",
        ):
            space.run([command.require("busybox"), *words.split()])
        entering = space.entering("--net")
        programs = [
            command.Process([*entering, *argv], shown=argv)
            for argv in (
                dnsmasq(names, log),
                [sys.executable, "-m", "imagebuild.tools.time_server", SERVER, str(TIME_PORT)],
            )
        ]
        try:
            _wait_until_served(programs, log)
            busybox = str(command.require("busybox"))
            yield ServedNetwork(
                tap=Tap(name=DEVICE, entering=tuple(entering)),
                to_guest=(*entering, busybox, "nc", GUEST, str(SSH_PORT)),
            )
        finally:
            for program in programs:
                program.end(grace=0.2)


def dnsmasq(names: dict[str, str], log: Path) -> list[str]:
    """Return dnsmasq's argv (dnsmasq(8), 2.90): nothing of this machine's configuration, and no server
    besides.
    """
    network = ipaddress.ip_interface(f"{SERVER}/{MASK}").network
    return [
        *["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file", "--user=root"],
        *["--group=root", f"--interface={DEVICE}", "--bind-interfaces", "--no-resolv", "--no-hosts"],
        *[f"--dhcp-range={GUEST},{GUEST},{network.netmask},1h", "--dhcp-authoritative", "--leasefile-ro"],
        *[f"--dhcp-option=option:dns-server,{SERVER}", f"--dhcp-option=option:ntp-server,{SERVER}"],
        *["--log-queries", "--log-dhcp", f"--log-facility={log.absolute()}"],
        *[f"--address=/{name}/{address}" for name, address in names.items()],
        # without the second, a question for an IPv6 address is refused instead of answered with nothing
        *[f"--address=/#/{SERVER}", "--local=/#/"],
    ]


def _wait_until_served(programs: list[command.Process], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not (log.exists() and SERVES in log.read_text(errors="replace")):
        for program in programs:
            if not program.alive:
                # what it said may not have been read yet
                program.wait()
                raise BuildError(f"{program.name} does not start: {program.complaint().strip()[-300:]}")
        if time.monotonic() > until:
            raise BuildError(f"dnsmasq does not serve within {START_SECONDS:.0f} s")
        time.sleep(0.02)
