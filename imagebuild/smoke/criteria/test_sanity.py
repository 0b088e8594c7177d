"""Small things that hosts of all ages got wrong: /tmp is everybody's, and the clock is right."""

import time

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.words import Host

# seconds between two reads of clocks, over an emulated host's ssh
CLOCK_SECONDS = 120


@criterion(
    group=Group.SYSTEM,
    about="/tmp is writable for everybody, with the sticky bit.",
)
def test_tmp_is_everybodys(host: Host) -> None:
    mode = host.succeeds("stat", "-L", "-c", "%a", "/tmp").strip()
    assert mode == "1777", f"/tmp has mode {mode}, not 1777"


@criterion(
    group=Group.SYSTEM,
    about="The host's clock is right.",
)
def test_the_clock_is_right(host: Host) -> None:
    there = int(host.succeeds("date", "+%s"))
    assert abs(there - time.time()) < CLOCK_SECONDS, (
        f"the host's clock is {there - time.time():.0f} s away from the builder's"
    )
