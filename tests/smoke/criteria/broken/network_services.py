"""Hosts on which the criteria of test_network_services.py fail, and how each says so."""

from collections.abc import Callable

from imagebuild.smoke.criteria import test_network_services as network_services
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.services import ServedFacts
from imagebuild.smoke.host.words import Host
from tests.smoke.criteria.cases import Case, OnHost

LOOK = "sh -c # what the network gives"
NAME, ADDRESS = "0123abcd.imagebuild.test", "198.51.100.7"
# getent of glibc 2.36, systemd-resolved's stub, timedatectl of systemd 252; the tests' clock stands at 0
FOUND = f"{ADDRESS}    STREAM {NAME}\n{ADDRESS}    DGRAM  \n{ADDRESS}    RAW    \n"
RESOLV = "# This is systemd-resolved's stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .\n"
KEEPER = "systemd-timesyncd.service active\n"


def answer(*, found: str = FOUND, keeper: str = KEEPER, synchronized: str = "yes", seconds: int = 0) -> str:
    """Return what a host says of its network."""
    clock = (
        f"               Local time: Thu 1970-01-01 00:00:00 UTC\nSystem clock synchronized: {synchronized}\n"
    )
    return f"=address\n{found}=resolv\n{RESOLV}\n=keepers\n{keeper}=clock\n{clock}{seconds}\n"


def on(test: Callable[[ServedFacts], None]) -> Callable[[Host, Expected], None]:
    """Return a criterion of a host that has looked at its network."""
    return lambda host, _: test(ServedFacts(name=NAME, address=ADDRESS, facts=host.network_facts(NAME)))


CASES: dict[str, Case] = {
    "names-resolve-by-the-server-that-dhcp-gave": OnHost(
        run=on(network_services.test_names_resolve_by_the_server_that_dhcp_gave),
        broken=[
            ({LOOK: answer(found="")}, f"{NAME} does not resolve .*names 127.0.0.53"),
            ({LOOK: answer(found=FOUND.replace(ADDRESS, "192.0.2.9"))}, "is 192.0.2.9, not 198.51.100.7"),
        ],
    ),
    "the-clock-is-being-kept": OnHost(
        run=on(network_services.test_the_clock_is_being_kept),
        broken=[
            ({LOOK: answer(keeper="systemd-timesyncd.service inactive\n")}, "nothing keeps the clock"),
            ({LOOK: answer(synchronized="no")}, "is not synchronized, although systemd-timesyncd.service is"),
            ({LOOK: answer(seconds=900)}, "it is 900 s away"),
        ],
    ),
}
