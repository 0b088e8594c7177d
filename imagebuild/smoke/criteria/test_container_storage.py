"""Container storage is set up as the release's profile says, and a second boot leaves it as it is."""

from imagebuild.smoke.criterion import Asks, Group, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.words import Host
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.CONTAINERS,
    about="Container storage is set up as the release's profile says.",
)
def test_container_storage_is_set_up(host: Host, expected: Expected) -> None:
    problem = host.storage_problem(expected.terms.storage)
    assert not problem, f"storage profile {expected.terms.storage}: {problem}"


@criterion(
    group=Group.CONTAINERS,
    about="A second boot leaves volumes, disks and mounts as they are.",
    asks=Asks.JOURNEY,
)
def test_a_second_boot_leaves_storage_unchanged(journey: Journey) -> None:
    first, second = journey.found(journey.start), journey.found(journey.upgraded)
    assert second.storage == first.storage, (
        f"a second boot changed volumes, disks or mounts, from\n{first.storage}\nto\n{second.storage}"
    )
