"""Each host has a machine-id of its own: two boots of one image have different ones."""

import re

from imagebuild.smoke.criterion import Group, criterion
from imagebuild.smoke.host.words import Host


@criterion(
    group=Group.SYSTEM,
    about="Two hosts made from one image have different machine-ids.",
    boots=True,
)
def test_the_machine_id_is_unique(host: Host, other_machine_ids: tuple[str, ...]) -> None:
    mine = (host.read("/etc/machine-id") or "").strip()
    # machine-id(5)
    assert re.fullmatch(r"[0-9a-f]{32}", mine), f"/etc/machine-id holds {mine!r}"
    assert mine not in other_machine_ids, (
        f"another host that was made from this image has the same machine-id {mine}"
    )
