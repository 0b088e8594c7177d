"""Once the boot is over every unit is at rest: none is restarted again and again, and none waits for ever."""

import contextlib

from imagebuild.smoke.container_units import TEST_UNITS
from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.expected import Expected
from imagebuild.smoke.host.unit_states import RESTARTS
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.BOOTS,
    about="No unit is restarted again and again, and none waits for ever.",
    boots=True,
)
def test_no_unit_restarts_again_and_again_or_waits_for_ever(host: Host, expected: Expected) -> None:
    # a boot that does not end is another criterion's; what it waits for is said here
    with contextlib.suppress(AssertionError):
        host.wait_for_the_boot()
    left_out = (*expected.terms.allowed_failed_units, *TEST_UNITS)
    unrest = host.lasting_unrest()
    restless = [
        f"{name} was restarted {count} times"
        for name, count in sorted(unrest.restarts.items())
        if count >= RESTARTS and name not in left_out
    ]
    waiting = [f"{name}: {how}" for name, how in sorted(unrest.waiting.items()) if name not in left_out]
    assert not restless, f"these units are restarted again and again: {'; '.join(restless[:10])}"
    assert not waiting, f"these units wait for ever: {'; '.join(waiting[:10])}"
