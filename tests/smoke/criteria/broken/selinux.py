"""Hosts on which the criteria of test_selinux.py fail, and how each says so."""

from imagebuild.smoke.criteria import test_selinux as selinux
from tests.smoke.criteria.cases import Case, OnHost

LABELLED: dict[str, str | None] = {
    "test -e": "",
    "getenforce": "Enforcing\n",
    "stat -c %C": "system_u:object_r:root_t:s0\n",
    "journalctl -b --no-pager": "",
}

CASES: dict[str, Case] = {
    "selinux-is-enforcing-and-files-are-labelled": OnHost(
        run=lambda host, _: selinux.test_selinux_is_enforcing_and_files_are_labelled(host),
        broken=[
            (LABELLED | {"getenforce": "Permissive\n"}, "SELinux is Permissive"),
            (LABELLED | {"stat -c %C /boot": "system_u:object_r:unlabeled_t:s0\n"}, "nobody labelled /boot"),
            (LABELLED | {"stat -c %C /sysroot": "?\n"}, "/sysroot has no label"),
            (
                LABELLED | {"journalctl -b --no-pager": "AVC avc:  denied { read } for x\n"},
                "denied something",
            ),
        ],
    ),
}
