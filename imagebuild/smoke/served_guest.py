"""One more first boot of an image, on a network with a name server and a time server and with a clock that is
wrong: what the host makes of that.

It is switched off as soon as that is known: one guest at a time.
"""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.host.errors import NotTestedError, RigError
from imagebuild.smoke.host.services import ServedFacts
from imagebuild.smoke.trial import Trial
from imagebuild.tools import served_network
from imagebuild.tools.served_network import ServedNetwork

EVIDENCE, DNS_LOG, SEEN = "served-network", "dnsmasq.log", "services.log"
# an address for documentation (RFC 5737, TEST-NET-2), and a top-level domain for tests (RFC 6761): no other
# server says that
ADDRESS, DOMAIN = "198.51.100.7", "imagebuild.test"
CANNOT = "no network with a name server and a time server can be made"


def look_at_served_guest(trial: Trial, work: Path) -> ServedFacts:
    """Boot the artifact on such a network, and look; `work` takes what dnsmasq writes. Fails when the host
    does not come up there. Raises NotTestedError where no such network can be made, RigError, BuildError.
    """
    evidence = trial.evidence / EVIDENCE
    evidence.mkdir(parents=True, exist_ok=True)
    name = f"{secrets.token_hex(4)}.{DOMAIN}"
    with (
        _network({name: ADDRESS}, work / DNS_LOG, evidence) as network,
        guest(trial, evidence, network=network) as (_, boot),
    ):
        problem = f"on a network with a DHCP server of its own the host does not come up: {boot.problem}"
        if boot.host is None and boot.rig:
            raise RigError(problem)
        assert boot.host is not None, problem
        with boot.host.noting(evidence / SEEN):
            return ServedFacts(name=name, address=ADDRESS, facts=boot.host.network_facts(name))


@contextlib.contextmanager
def _network(names: dict[str, str], log: Path, evidence: Path) -> Iterator[ServedNetwork]:
    if why := served_network.reason_unavailable():
        raise NotTestedError(f"{CANNOT}: {why}")
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(served_network.served(names, log))
        except BuildError as error:
            raise NotTestedError(f"{CANNOT}: {error.message}") from error
        try:
            yield network
        finally:
            (evidence / DNS_LOG).write_bytes(log.read_bytes())
