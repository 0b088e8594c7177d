"""A host deploys an older release by version and by checksum: freshly installed, and upgraded."""

from imagebuild.smoke.criterion import Asks, Group, criterion
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.served import ServedRelease
from imagebuild.smoke.stops import Stop, other_kernel


@criterion(
    group=Group.UPGRADES,
    about="A freshly installed host deploys an older release, by checksum and by version.",
    asks=Asks.FRESH_JOURNEY,
)
def test_deploys_an_older_release_when_fresh(fresh_journey: Journey) -> None:
    releases = fresh_journey.releases
    # a history that is made for the test would hide it; the upgrade from there is tested with one all the
    # same
    assert releases.lost is None, (
        f"hosts of this release would say `Version {releases.older.version} not found`: {releases.lost}"
    )
    _runs(fresh_journey.older_on_fresh(), releases.older, fresh_journey.expected.promise.refspec)


@criterion(
    group=Group.UPGRADES,
    about="An upgraded host deploys an older release, by checksum and by version.",
    asks=Asks.JOURNEY,
)
def test_deploys_an_older_release_when_upgraded(journey: Journey) -> None:
    _runs(journey.older_on_upgraded(), journey.releases.candidate, journey.expected.promise.refspec)


def _runs(stop: Stop, wanted: ServedRelease, refspec: str) -> None:
    assert stop.booted.commit == wanted.commit, (
        f"deployed {wanted.version}, but {stop.booted.version} ({stop.booted.commit}) runs"
    )
    assert (other := other_kernel(stop, wanted)) is None, other
    assert stop.deployments[0].booted, "what runs is not what the next boot would choose"
    assert len(stop.deployments) > 1, "there is no deployment to go back to"
    # an origin that is a bare checksum would never see an upgrade again
    assert stop.booted.origin == refspec, f"the host would upgrade from {stop.booted.origin!r}"
