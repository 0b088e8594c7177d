"""A kind of host that is told by another program."""

from dataclasses import replace

from imagebuild.smoke.hosts import ostree

RECORD = replace(
    ostree.RECORD,
    name="bootc",
    program="usr/bin/bootc",
    page={"Upgrade": ("bootc upgrade", "systemctl reboot")},
)
