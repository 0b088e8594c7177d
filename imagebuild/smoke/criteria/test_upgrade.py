"""A host upgrades: from the previous release to this one, from this one to the next; and never to what nobody
signed.
"""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.journey import Journey
from imagebuild.smoke.stops import other_kernel


@criterion(
    group=Group.UPGRADES,
    about="A host upgrades from this release to the next.",
    asks=Asks.JOURNEY,
    firmware_bound=True,
)
def test_upgrades_to_the_next_release(journey: Journey) -> None:
    stop = journey.upgraded()
    wanted = journey.releases.next
    assert stop.booted.commit == wanted.commit, (
        f"after the upgrade {stop.booted.commit} runs, not {wanted.commit}"
    )
    assert stop.booted.version == wanted.version, (
        f"after the upgrade version {stop.booted.version!r} runs, not {wanted.version!r}"
    )
    assert stop.booted.origin == journey.expected.promise.refspec, (
        f"the upgraded host would upgrade from {stop.booted.origin!r}"
    )
    assert (other := other_kernel(stop, wanted)) is None, other
    commits = [each.commit for each in stop.deployments]
    assert commits[:2] == [
        wanted.commit,
        journey.expected.promise.commit,
    ], f"there is no way back: the host keeps {commits}"
    assert not stop.failed_units, f"after the upgrade these units have failed: {', '.join(stop.failed_units)}"


@criterion(
    group=Group.UPGRADES,
    about="A host refuses an upgrade that nobody signed.",
    asks=Asks.JOURNEY,
    applies_to="release lines whose hosts check signatures",
    needs=(Trait.SIGNATURES,),
)
def test_refuses_an_unsigned_upgrade(journey: Journey) -> None:
    name = journey.expected.promise.refspec.partition(":")[0]
    if (
        journey.expected.terms.update_verify is False
        and journey.host.remote(name).get("gpg-verify") == "false"
    ):
        raise NotApplicableError(
            "this release line's hosts do not check signatures (its remote says so, as released)"
        )
    offer = journey.refused()
    assert offer.answer.status not in (0, 77), "the host deploys a commit that nobody signed"
    said = (offer.answer.complaint + offer.answer.output).lower()
    assert "gpg" in said or "signature" in said, (
        f"the unsigned upgrade failed, but not for its signature: {said.strip()[-300:]}"
    )
    assert offer.after == offer.before, (
        f"the refused upgrade changed the host's deployments to {[each.commit for each in offer.after]}"
    )


@criterion(
    group=Group.UPGRADES,
    about="A host upgrades from the previous release to this one.",
    asks=Asks.FRESH_JOURNEY,
    applies_to="all but first releases",
    needs=(Trait.BEFORE,),
)
def test_upgrades_from_the_previous_release(fresh_journey: Journey, first_release: str | None) -> None:
    if first_release is not None:
        raise NotApplicableError(first_release)
    stop = fresh_journey.from_previous()
    assert stop.booted.commit == fresh_journey.expected.promise.commit, (
        f"from the previous release the host came to {stop.booted.commit}"
    )
    assert stop.booted.version == fresh_journey.expected.promise.version, (
        f"from the previous release the host came to {stop.booted.version!r}"
    )
    assert stop.booted.origin == fresh_journey.expected.promise.refspec, (
        f"the upgraded host would upgrade from {stop.booted.origin!r}"
    )
    assert (other := other_kernel(stop, fresh_journey.releases.candidate)) is None, other
    assert not stop.failed_units, f"after the upgrade these units have failed: {', '.join(stop.failed_units)}"
