"""A host whose power fails while it upgrades comes up again, with one of both releases whole, and can be
upgraded.
"""

from imagebuild.smoke.criterion import Asks, Group, criterion
from imagebuild.smoke.journey import Journey


@criterion(
    group=Group.UPGRADES,
    about="A host whose power fails during an upgrade comes up again, and can be upgraded.",
    asks=Asks.JOURNEY,
)
def test_survives_a_power_cut(journey: Journey) -> None:
    survival = journey.cut_off()
    where = f"(seed {survival.seed}, cut {survival.cut})"
    assert not survival.menus, (
        f"of {survival.looked_at} disks that a power cut during the upgrade may leave, {len(survival.menus)}"
        f" would not boot (seed {survival.seed}):"
        f" {'; '.join(f'{cut}: {why}' for cut, why in sorted(survival.menus.items())[:3])}"
    )
    assert survival.problem is None, (
        f"after a power cut during the upgrade the host does not come up {where}: {survival.problem}"
    )
    promised = (journey.expected.promise.commit, journey.releases.next.commit)
    assert survival.booted in promised, (
        f"after a power cut during the upgrade {survival.booted} runs, which is neither release {where}"
    )
    assert survival.fsck is None, (
        f"a power cut during the upgrade damages the repository {where}: {survival.fsck}"
    )
    assert survival.kept, (
        f"a power cut during the upgrade takes along what was written long before it {where}"
    )
    assert not survival.failed_units, (
        f"after a power cut during the upgrade these units have failed {where}:"
        f" {', '.join(survival.failed_units)}"
    )
    again = survival.again
    assert again is not None
    assert again.status in (0, 77), (
        f"the upgrade that a power cut broke off cannot be done again {where}: it ended with {again.status}:"
        f" {(again.complaint or again.output).strip()[-300:]}"
    )
    assert survival.next == journey.releases.next.commit, (
        f"the upgrade that a power cut broke off, done again, leads to {survival.next} {where}"
    )
