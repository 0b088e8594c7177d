"""What a tree does not ask of its root file system is not applicable; where it asks, a good host passes."""

import pytest

from imagebuild.smoke.criteria import test_rollback as rollback
from imagebuild.smoke.criteria import test_root as root
from imagebuild.smoke.host.errors import NotApplicableError
from imagebuild.smoke.journey import VAR, Journey
from imagebuild.smoke.stops import ReadAgain
from imagebuild.tools.ssh import Answer
from tests.smoke.criteria.broken.root import (
    ASKED,
    CONF,
    FINDMNT,
    IMAGE,
    READONLY,
    SHOW_DIGEST,
    VERITY,
    read_on,
)
from tests.smoke.criteria.cases import Answers, journey_of
from tests.smoke.healthy_host import broken_host


def nothing_is_booted(path: str, checksum: str) -> ReadAgain:
    raise AssertionError(f"{path} {checksum}: nothing is to be booted for what does not apply")


def passes_verity(answers: Answers) -> None:
    host = broken_host({**answers})
    root.test_a_changed_object_is_not_read(host, read_on(host))


def test_hosts_that_are_as_their_tree_asks_pass() -> None:
    root.test_sysroot_is_read_only(broken_host(ASKED))
    root.test_etc_is_merged_or_transient(broken_host(ASKED))
    transient: Answers = {CONF: READONLY + "[etc]\ntransient=true\n", f"{FINDMNT} /etc": IMAGE}
    root.test_etc_is_merged_or_transient(broken_host({**ASKED, **transient}))
    passes_verity(VERITY)


def test_what_stands_in_etc_counts_alone() -> None:
    etc = {"cat /etc/ostree/prepare-root.conf": "[etc]\ntransient=true\n"}
    with pytest.raises(NotApplicableError):
        root.test_sysroot_is_read_only(broken_host({**ASKED, **etc}))


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
        root.test_a_changed_object_is_not_read(broken_host({CONF: conf}), nothing_is_booted)


def test_what_cannot_be_compared_is_left_out() -> None:
    # a kernel that reads the image without a loop device; a commit that was made without the digest
    passes_verity(VERITY | {"losetup": ""})
    passes_verity(VERITY | {SHOW_DIGEST: None})


@pytest.mark.parametrize(
    ("again", "why"),
    [
        (ReadAgain(problem="it hung"), "the host does not come up at all: it hung"),
        (
            ReadAgain(problem=None, answer=Answer(status=1, output="", complaint="cat: gone", seconds=0.0)),
            "could not be read for another reason: cat: gone",
        ),
    ],
)
def test_a_file_that_is_not_read_for_another_reason_proves_nothing(again: ReadAgain, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        root.test_a_changed_object_is_not_read(broken_host(VERITY), lambda *_: again)


def test_a_tree_that_asks_for_nothing_is_not_applicable() -> None:
    with pytest.raises(NotApplicableError):
        root.test_sysroot_is_read_only(broken_host({}))
    with pytest.raises(NotApplicableError):
        root.test_etc_is_merged_or_transient(broken_host({}))


TRANSIENT: Answers = {CONF: READONLY + "[etc]\ntransient=true\n"}


def test_of_an_etc_that_keeps_nothing_nothing_is_asked() -> None:
    """What a host writes there is gone at its next boot, and with it the machine-id."""
    changed = {"upgraded": {"before": False}, "rolled_back": {"before": False, "machine_id": "cd" * 16}}
    transient, kept = journey_of({"answers": TRANSIENT, **changed}), journey_of(changed)
    with pytest.raises(NotApplicableError, match="/etc is transient"):
        rollback.test_etc_follows_the_deployment(transient)
    rollback.test_var_and_container_data_stay(transient)
    for asked in (rollback.test_etc_follows_the_deployment, rollback.test_var_and_container_data_stay):
        with pytest.raises(AssertionError):
            asked(kept)


def test_what_is_not_to_last_is_not_missed_after_a_power_cut() -> None:
    there: Answers = {f"test -e {VAR}": ""}
    assert Journey.kept_by(broken_host({**there, **TRANSIENT}))
    assert not Journey.kept_by(broken_host({**TRANSIENT}))
    assert not Journey.kept_by(broken_host({**there}))
    # without a read-only /sysroot the setting means nothing
    assert not Journey.kept_by(broken_host({**there, CONF: "[etc]\ntransient=true\n"}))
