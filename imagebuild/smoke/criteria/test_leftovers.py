"""The boot leaves nothing behind that lends rights or tells secrets."""

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.ACCESS,
    about=(
        "The boot leaves no process of root without a unit, no file that all may write, no program with"
        " root's rights outside of /usr, and no secret that all can read."
    ),
    boots=True,
)
def test_the_boot_leaves_no_privileged_leftovers(host: Host) -> None:
    found = host.leftovers()
    assert not found, (
        f"the boot has left {len(found)} things: {'; '.join(map(str, found[:8]))}"
        f"{' …' if len(found) > 8 else ''}"
    )
