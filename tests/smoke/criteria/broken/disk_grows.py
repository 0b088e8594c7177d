"""Hosts on which the criteria of test_disk_grows.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_disk_grows as disk_grows
from tests.smoke.criteria.cases import Case, OnHost

CASES: dict[str, Case] = {
    "the-disk-grows": OnHost(
        run=disk_grows.test_the_disk_grows,
        broken=[
            (
                {"lsblk --noheadings --list --bytes": "vda 7516192768 disk\nvda1 6058655232 part\n"},
                "they were not grown",
            ),
            ({"findmnt -b -n -o SIZE /sysroot": "3000000000\n"}, "the root file system has"),
            ({"pvs": "  6058655232\n"}, "the physical volume has"),
        ],
    ),
}
