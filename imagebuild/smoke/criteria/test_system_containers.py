"""Containers that systemd starts come back at the next boot: `atomic`'s system containers, and podman's
units.
"""

from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_NAME, SYSTEM_UNIT, system_containers
from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.stops import Stop


@criterion(
    group=Group.CONTAINERS,
    about="A system container of `atomic` comes back at the next boot.",
    asks=Asks.JOURNEY,
    applies_to="trees with the `atomic` command",
    needs=(Trait.ATOMIC,),
)
def test_system_containers_survive_a_reboot(journey: Journey) -> None:
    if not journey.host.has("atomic"):
        raise NotApplicableError("no system containers: the tree has no `atomic` command")
    _comes_back(journey, SYSTEM_UNIT)
    assert SYSTEM_NAME in system_containers(journey.host), (
        f"atomic does not list the system container {SYSTEM_NAME}"
    )


@criterion(
    group=Group.CONTAINERS,
    about="A container that is a systemd unit comes back at the next boot.",
    asks=Asks.JOURNEY,
    applies_to="trees with podman",
    needs=(Trait.PODMAN,),
)
def test_container_units_survive_a_reboot(journey: Journey) -> None:
    if not journey.host.has("podman"):
        raise NotApplicableError("no container units: the tree has no podman")
    _comes_back(journey, CONTAINER_UNIT)


def _comes_back(journey: Journey, unit: str) -> None:
    stops: list[tuple[str, Stop]] = [
        ("its start", journey.found(journey.start)),
        ("a reboot", journey.found(journey.upgraded)),
    ]
    assert not journey.problems.get(unit), f"{unit} cannot be started: {journey.problems[unit]}"
    for when, stop in stops:
        assert stop.units[unit] == "active", f"after {when} {unit} is {stop.units[unit] or 'not there'}"
