"""Hosts on which the criteria of test_contents.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_contents as contents
from tests.smoke.criteria.cases import Case, OnHost

COMPARE = "python3 - /sysroot/ostree/repo"
WRITE = "sh -c # what can be written"
# what the program printed of a checkout of the demo's tree that was changed in these ways
# (tests/smoke/test_working_order.py does so)
REPLACED = "/usr/bin/sudo\thas other content\ncompared 2022 names and 150 contents, 1 differ\n"
ADDED = "/usr/bin/extra\tis not in the commit\ncompared 2022 names and 150 contents, 1 differ\n"
MODE = (
    "/usr/bin/passwd\thas another mode or owner: 4755 0:0\ncompared 2022 names and 150 contents, 1 differ\n"
)

CASES: dict[str, Case] = {
    "what-runs-is-the-commit": OnHost(
        run=lambda host, _: contents.test_what_runs_is_the_commit(host),
        broken=[
            ({COMPARE: REPLACED}, "/usr is not the commit's: /usr/bin/sudo has other content"),
            ({COMPARE: ADDED}, "/usr/bin/extra is not in the commit"),
            ({COMPARE: MODE}, "/usr/bin/passwd has another mode or owner: 4755 0:0"),
            ({COMPARE: "compared 0 names and 0 contents, 0 differ\n"}, "nothing of /usr was compared"),
            ({COMPARE: "compared 9 names and 0 contents, 0 differ\n"}, "no file of /usr was compared"),
            ({COMPARE: "killed\n"}, "was not compared to its end: 'killed'"),
            ({COMPARE: "compared 9 names and 9 contents, 3 differ\n"}, "but these are named"),
        ],
    ),
    "usr-cannot-be-written": OnHost(
        run=lambda host, _: contents.test_usr_cannot_be_written(host),
        broken=[
            ({WRITE: "/usr\n/usr/bin\nlooked\n"}, "root can write into /usr, /usr/bin"),
            ({WRITE: "/\nlooked\n"}, "root can write into /"),
            ({WRITE: ""}, "nobody could look"),
            (
                {
                    WRITE: "/sysroot\nlooked\n",
                    "cat /usr/lib/ostree/prepare-root.conf": "[sysroot]\nreadonly=true\n",
                },
                "root can write into /sysroot",
            ),
        ],
    ),
}
