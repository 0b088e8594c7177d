"""A host takes what its network offers: names by the server that DHCP gave, and the time."""

from imagebuild.smoke.criterion import Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.host.services import ServedFacts

# between two reads of clocks, over an emulated host's ssh; the clock was wrong by far more at first
CLOCK_SECONDS = 120


@criterion(
    group=Group.SYSTEM,
    about="Names resolve by the server that DHCP gave.",
)
def test_names_resolve_by_the_server_that_dhcp_gave(served: ServedFacts) -> None:
    facts = served.facts
    servers = ", ".join(facts.servers) or "no server"
    assert facts.addresses, f"{served.name} does not resolve (/etc/resolv.conf names {servers})"
    assert set(facts.addresses) == {served.address}, (
        f"{served.name} is {', '.join(facts.addresses)}, not {served.address}, as the server that DHCP gave"
        f" says (/etc/resolv.conf names {servers})"
    )


@criterion(
    group=Group.SYSTEM,
    about="The clock is being kept: a wrong one is set right by a time server.",
    applies_to="trees that have a time service",
    needs=(Trait.TIME,),
)
def test_the_clock_is_being_kept(served: ServedFacts) -> None:
    facts = served.facts
    if not facts.keepers:
        raise NotApplicableError(
            "the tree has no time service (timesyncd, chrony, ntp, ntpsec or OpenNTPD): its clock is the"
            " machine's"
        )
    active = [unit for unit, state in facts.keepers.items() if state == "active"]
    states = ", ".join(f"{unit} is {state}" for unit, state in facts.keepers.items())
    assert active, f"nothing keeps the clock: {states}"
    assert facts.synchronized, f"the clock is not synchronized, although {states}"
    assert facts.ahead is not None, "the host does not say what time it is"
    assert abs(facts.ahead) < CLOCK_SECONDS, (
        f"the clock counts as synchronized ({', '.join(active)}), but it is {facts.ahead:.0f} s away from the"
        " time server's"
    )
