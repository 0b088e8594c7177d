"""A host rolls back to the tree it came from: /etc goes back with it, /var and containers' data stay; and it
can upgrade again.
"""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.stops import other_kernel


@criterion(
    group=Group.UPGRADES,
    about="An upgraded host rolls back to the release that it came from.",
    asks=Asks.JOURNEY,
    firmware_bound=True,
)
def test_rolls_back_to_where_it_came_from(journey: Journey) -> None:
    stop = journey.rolled_back()
    assert stop.booted.commit == journey.expected.promise.commit, (
        f"after the rollback {stop.booted.commit} runs, not {journey.expected.promise.commit}"
    )
    assert stop.booted.origin == journey.expected.promise.refspec, (
        f"the host would upgrade from {stop.booted.origin!r} now"
    )
    assert (other := other_kernel(stop, journey.releases.candidate)) is None, other
    assert not stop.failed_units, (
        f"after the rollback these units have failed: {', '.join(stop.failed_units)}"
    )


@criterion(
    group=Group.UPGRADES,
    about="/etc keeps its changes in an upgrade, and goes back in a rollback.",
    asks=Asks.JOURNEY,
    applies_to="trees whose /etc keeps its changes",
    needs=(Trait.KEPT_ETC,),
)
def test_etc_follows_the_deployment(journey: Journey) -> None:
    if journey.host.has_transient_etc():
        raise NotApplicableError("the tree's /etc is transient: it begins as the tree's own at every boot")
    upgraded, back = journey.found(journey.upgraded), journey.found(journey.rolled_back)
    assert upgraded.before, "what was written into /etc before the upgrade is gone after it"
    assert back.before, "what was written into /etc before the upgrade is gone after the rollback"
    assert not back.after, "what was written into /etc after the upgrade is still there after the rollback"


@criterion(
    group=Group.UPGRADES,
    about="/var, containers' volumes and the machine-id survive upgrade and rollback.",
    asks=Asks.JOURNEY,
)
def test_var_and_container_data_stay(journey: Journey) -> None:
    for name, stop in (
        ("upgrade", journey.found(journey.upgraded)),
        ("rollback", journey.found(journey.rolled_back)),
    ):
        assert stop.var, f"what was written into /var is gone after the {name}"
        assert not journey.problems.get("volume"), (
            f"no container could keep anything: {journey.problems['volume']}"
        )
        if journey.host.container_runtimes():
            assert stop.volume == "kept", f"after the {name} a container's volume holds {stop.volume!r}"
    if journey.host.has_transient_etc():
        return  # a machine-id is in /etc, and new at every boot
    machines = {journey.found(journey.start).machine_id, journey.found(journey.rolled_back).machine_id}
    assert len(machines) == 1, f"the machine-id changed on the way: {machines}"


@criterion(
    group=Group.UPGRADES,
    about="A host that was rolled back can be upgraded again.",
    asks=Asks.JOURNEY,
)
def test_upgrades_again_after_a_rollback(journey: Journey) -> None:
    stop = journey.forward()
    wanted = journey.releases.next
    assert stop.booted.commit == wanted.commit, (
        f"after the rollback the host does not get forward again: {stop.booted.commit} runs"
    )
    assert (other := other_kernel(stop, wanted)) is None, other
