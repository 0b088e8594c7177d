"""What the network gives a host: names by the server that DHCP named, and the time."""

import itertools
import re
import time
from dataclasses import dataclass

from imagebuild.smoke.boot import POLL_SECONDS
from imagebuild.smoke.host.programs import Programs

# chronyd asks four times, two seconds apart, before it sets the clock (chrony.conf(5), iburst); timesyncd
# asks once more after 15 s when nobody answered (systemd 252, timesyncd-manager.c, TIMEOUT_USEC)
SYNC_SECONDS = 40.0
# units that keep the clock: systemd's own, chrony, ntp, ntpsec and OpenNTPD (Debian 12, Fedora 26 to 41)
KEEPERS = "systemd-timesyncd chronyd chrony ntpd ntp ntpsec openntpd"
# `ahostsv4` asks as programs do, through nsswitch.conf(5)
LOOK = f"""# what the network gives
export LC_ALL=C
printf '=address\\n'
getent ahostsv4 "$1" | head -c 4096
printf '=resolv\\n'
head -c 4096 /etc/resolv.conf
printf '\\n=keepers\\n'
for unit in {KEEPERS}; do
    if [ -e "/usr/lib/systemd/system/$unit.service" ]; then
        echo "$unit.service $(systemctl is-active "$unit.service")"
    fi
done
printf '=clock\\n'
timedatectl | head -c 4096
date +%s
"""
ADDRESS = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3})\s+STREAM\b.*")
KEEPER = re.compile(r"([a-z-]+\.service) ([a-z]+)")
# systemd 233 and 252
SYNCHRONIZED = re.compile(r"\s*(?:System clock|NTP) synchronized: (yes|no)\s*")


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """What a host made of what its network offers: the addresses of a name, its resolv.conf's name servers,
    the units that keep a clock (unit -> its state), whether the kernel's clock counts as synchronized, and
    how many seconds it is ahead of the builder's (None: it did not say).
    """

    addresses: tuple[str, ...]
    servers: tuple[str, ...]
    keepers: dict[str, str]
    synchronized: bool
    ahead: float | None


@dataclass(frozen=True, kw_only=True)
class ServedFacts:
    """What a host made of a network on which only the server knows that `name` is `address`."""

    name: str
    address: str
    facts: NetworkFacts


class Services(Programs):
    """What the network gives."""

    def network_facts(self, name: str) -> NetworkFacts:
        """Return what the host makes of its network, as soon as it has a name's address and the time, or when
        it has had long enough.
        """
        over = self.patience(SYNC_SECONDS * self.slowness)
        for asked in itertools.count():
            facts = read_network_facts(self.succeeds("sh", "-c", LOOK, "sh", name), time.time())
            kept = any(state in ("active", "activating") for state in facts.keepers.values())
            settled = facts.addresses and (facts.synchronized or not kept)
            if settled or over(asked) is not None:
                return facts
            time.sleep(POLL_SECONDS * min(self.slowness, 3))
        raise AssertionError("unreachable")


def read_network_facts(text: str, now: float) -> NetworkFacts:
    """Return what LOOK's output says, which came at `now` (seconds since 1970)."""
    address, _, rest = text.partition("=resolv\n")
    resolv, _, rest = rest.partition("=keepers\n")
    keepers, _, clock = rest.partition("=clock\n")
    lines = clock.split("\n")
    said = [match[1] for line in lines if (match := SYNCHRONIZED.fullmatch(line))]
    seconds = [line for line in lines if re.fullmatch(r"\d{1,12}", line)]
    return NetworkFacts(
        addresses=tuple(match[1] for line in address.splitlines() if (match := ADDRESS.fullmatch(line))),
        servers=tuple(re.findall(r"^nameserver\s+([0-9a-fA-F.:]{2,45})\s*$", resolv, re.MULTILINE)),
        keepers={match[1]: match[2] for line in keepers.splitlines() if (match := KEEPER.fullmatch(line))},
        synchronized=said == ["yes"],
        ahead=int(seconds[-1]) - now if seconds else None,
    )
