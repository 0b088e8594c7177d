"""A host whose new release does not come up goes back by itself, where its tree counts boots."""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.UPGRADES,
    about="A host whose new release does not come up falls back to the old one by itself.",
    asks=Asks.JOURNEY,
    applies_to="trees that count boots (greenboot, GRUB's or systemd's counter)",
    needs=(Trait.COUNTER,),
    firmware_bound=True,
)
def test_falls_back(journey: Journey) -> None:
    counter = journey.host.boot_counter()
    if not counter:
        raise NotApplicableError(
            "nothing in this tree counts boots (no greenboot, no counter of GRUB's or systemd's): who has a"
            " release that does not come up chooses the old entry in the boot menu"
        )
    fall = journey.fallen_back()
    assert fall.boots > 1, f"{counter}: a release that reboots itself for ever came up"
    assert fall.after.commit == fall.before.commit, (
        f"{counter}: after {fall.boots} boots {fall.after.commit} runs, and not {fall.before.commit}, from"
        " which the host came"
    )
    assert fall.after.origin == fall.before.origin, (
        f"{counter}: the host that fell back would upgrade from {fall.after.origin!r}"
    )
