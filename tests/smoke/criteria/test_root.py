"""What a tree does not ask of its root file system is not applicable; where it asks, a good host passes."""

import pytest

from imagebuild.smoke.criteria import test_root as root
from imagebuild.smoke.host.errors import NotApplicableError
from tests.smoke.criteria.broken.root import ASKED, CONF, FINDMNT, IMAGE, READONLY, VERITY
from tests.smoke.criteria.cases import Answers
from tests.smoke.healthy_host import broken_host


def test_hosts_that_are_as_their_tree_asks_pass() -> None:
    root.test_sysroot_is_read_only(broken_host(ASKED))
    root.test_etc_is_merged_or_transient(broken_host(ASKED))
    transient: Answers = {CONF: READONLY + "[etc]\ntransient=true\n", f"{FINDMNT} /etc": IMAGE}
    root.test_etc_is_merged_or_transient(broken_host({**ASKED, **transient}))
    root.test_a_changed_object_is_not_read(broken_host(VERITY))


def test_the_legacy_place_of_the_setting_counts() -> None:
    legacy = ASKED | {CONF: None, "cat /sysroot/ostree/repo/config": "[sysroot]\nreadonly=true\n"}
    root.test_sysroot_is_read_only(broken_host(legacy))
    # composefs makes it the default, unless the tree says otherwise
    root.test_sysroot_is_read_only(broken_host(VERITY))
    with pytest.raises(NotApplicableError):
        root.test_sysroot_is_read_only(
            broken_host(VERITY | {CONF: "[composefs]\nenabled=yes\n[sysroot]\nreadonly=false\n"})
        )


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        (None, "does not use composefs"),
        (READONLY, "does not use composefs"),
        ("[composefs]\nenabled=yes\n", "nothing checks the content"),
        ("[composefs]\nenabled=no\n", "does not use composefs"),
    ],
)
def test_an_image_that_nothing_checks_is_not_applicable(conf: str | None, reason: str) -> None:
    with pytest.raises(NotApplicableError, match=reason):
        root.test_a_changed_object_is_not_read(broken_host({CONF: conf}))


def test_a_tree_that_asks_for_nothing_is_not_applicable() -> None:
    with pytest.raises(NotApplicableError):
        root.test_sysroot_is_read_only(broken_host({}))
    with pytest.raises(NotApplicableError):
        root.test_etc_is_merged_or_transient(broken_host({}))
