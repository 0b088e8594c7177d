"""Hosts on which the criteria of test_leftovers.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_leftovers as leftovers
from tests.smoke.criteria.cases import Case, OnHost

LOOK = "sh -c # what the boot has left"
# the program's words, for things that were made in these places (tests/smoke/test_working_order.py does so)
LEFT = (
    ("P 731 plymouthd", r"plymouthd (731\): a process of root that is of no unit"),
    ("W 666 /run/fault", r"/run/fault (666\): writable for everybody"),
    ("W 777 /var/lib/fault", r"/var/lib/fault (777\): writable for everybody"),
    ("S 4755 /var/lib/shell", r"/var/lib/shell (4755\): a program with other rights"),
    ("R 644 /run/cloud-init/instance-data-sensitive.json", "a secret that everybody can read"),
    ("M 600 /dev/shm/fault", r"/dev/shm/fault (600\): left in shared memory"),
)

CASES: dict[str, Case] = {
    "the-boot-leaves-no-privileged-leftovers": OnHost(
        run=lambda host, _: leftovers.test_the_boot_leaves_no_privileged_leftovers(host),
        broken=[
            *(({LOOK: f"{line}\0looked\0"}, reason) for line, reason in LEFT),
            ({LOOK: "W 666 /run/\x1b[2J\0looked\0"}, r"/run/.x1b.2J (666"),
            ({LOOK: "W 666 /run/fault\0"}, "nobody could look"),
            ({LOOK: ""}, "nobody could look"),
            ({LOOK: "rm -rf /\0looked\0"}, "cannot be read"),
        ],
    ),
}
