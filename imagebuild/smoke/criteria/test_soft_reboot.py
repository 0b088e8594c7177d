"""A host comes into its new deployment without a boot, where its tree can do that."""

from imagebuild.smoke.criterion import Asks, Group, Trait, criterion
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.UPGRADES,
    about="A host comes into a staged release without a boot of its firmware, and stays there.",
    asks=Asks.SOFT_JOURNEY,
    applies_to="trees with composefs, ostree 2025.3 and systemd 254 (or newer)",
    needs=(
        Trait.COMPOSEFS,
        Trait.SOFT,
    ),
)
def test_soft_reboots_into_the_new_deployment(soft_journey: Journey) -> None:
    journey, wanted = soft_journey, soft_journey.releases.same_kernel
    found = journey.soft_rebooted()
    assert found.same_kernel, "the host was booted: its kernel is another one than before the soft reboot"
    stop = found.stop
    assert stop.booted.commit == wanted.commit, (
        f"after the soft reboot {stop.booted.commit or 'no deployment'} runs, not {wanted.commit}"
    )
    assert stop.booted.version == wanted.version, (
        f"after the soft reboot version {stop.booted.version!r} runs, not {wanted.version!r}"
    )
    # what was staged is finished as the host goes down; otherwise its next boot would be of the old release
    assert stop.deployments[0].booted, (
        f"the next boot of the firmware would be of {stop.deployments[0].commit}: the staged release was not"
        " finished"
    )
    assert stop.var, "what was written into /var is gone after the soft reboot"
    assert not stop.failed_units, (
        f"after the soft reboot these units have failed: {', '.join(stop.failed_units)}"
    )
