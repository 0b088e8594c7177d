"""Hosts on which the criteria of test_upgrade_remote.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_upgrade_remote as upgrade_remote
from tests.smoke.criteria.cases import Case, OnHost

REMOTE_FILE = "cat /etc/ostree/remotes.d/debian-atomic.conf"

CASES: dict[str, Case] = {
    "upgrades-come-from-the-releases-remote": OnHost(
        run=upgrade_remote.test_upgrades_come_from_the_releases_remote,
        broken=[
            ({REMOTE_FILE: None}, "has no remote debian-atomic"),
            (
                {REMOTE_FILE: '[remote "debian-atomic"]\nurl=file:///ostree/repo\n'},
                "is 'file:///ostree/repo', not",
            ),
            (
                {
                    REMOTE_FILE: (
                        '[remote "debian-atomic"]\nurl=https://ostree.example.org/debian\ngpg-verify=false\n'
                    )
                },
                "are not checked",
            ),
            (
                {"test -s /usr/share/ostree/debian-atomic.asc": None},
                "that upgrades are checked with is not there",
            ),
        ],
    ),
}
