"""Every criterion passes on a healthy host, and fails on a host that is broken in that way."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from imagebuild.kinds import Firmware, Login
from imagebuild.smoke.criteria import test_boots as boots
from imagebuild.smoke.criteria import test_container_storage as storage
from imagebuild.smoke.criteria import test_disk_grows as disk_grows
from imagebuild.smoke.criteria import test_nothing_fatal as nothing_fatal
from imagebuild.smoke.criteria import test_secure_boot as secure_boot
from imagebuild.smoke.criteria import test_selinux as selinux
from imagebuild.smoke.criteria import test_upgrade as upgrade
from imagebuild.smoke.criteria.registry import names
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError, RigError
from imagebuild.smoke.host.expected import Records
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.tools import vagrant_key
from imagebuild.tools.ssh import Answer
from tests.smoke.criteria.cases import GONE, ON_A_FEDORA, Answers, journey_of
from tests.smoke.criteria.tables import CASES, ON_HOST, ON_JOURNEY
from tests.smoke.healthy_host import HEALTHY_BOX, FakeTransport, broken_host, host
from tests.smoke.storage_hosts import BROKEN_STORAGE, STORAGE
from tests.smoke.told_journey import HEALTHY_STOPS, FakeJourney
from tests.smoke.trials import EXPECTED, expected

AWAY = "vagrant-logs-in-with-the-insecure-key"
BOX = expected(login=Login.VAGRANT, user="vagrant", public_key=vagrant_key.PUBLIC)
SELINUX = "selinux-is-enforcing-and-files-are-labelled"
# what a tree may not ask for at all: tests/smoke/criteria/test_root.py
ROOT = ("sysroot-is-read-only", "etc-is-merged-or-transient", "a-changed-object-is-not-read")
BROKEN = [(name, broken, reason) for name, case in ON_HOST.items() for broken, reason in case.broken]
BROKEN_ON_THE_WAY = [
    (name, broken, reason) for name, case in ON_JOURNEY.items() for broken, reason in case.broken
]


def test_legs_of_a_healthy_host_pass() -> None:
    for name, case in ON_JOURNEY.items():
        case.run(
            FakeJourney(
                broken_host(ON_A_FEDORA | (GONE if name == "a-layered-package-can-be-removed" else {})),
                HEALTHY_STOPS,
            )
        )


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    BROKEN_ON_THE_WAY,
    ids=[f"{name}-{reason}" for name, _, reason in BROKEN_ON_THE_WAY],
)
def test_a_leg_of_a_broken_host_fails(name: str, broken: dict[str, Any], reason: str) -> None:
    has_programs = name in (
        "system-containers-survive-a-reboot",
        "container-units-survive-a-reboot",
        "var-and-container-data-stay",
    )
    if has_programs:
        broken = {**broken, "answers": {"sh -c command -v": "/usr/bin/x\n", **broken.get("answers", {})}}
    with pytest.raises(AssertionError, match=re.escape(reason)):
        ON_JOURNEY[name].run(journey_of(broken))


def test_what_a_tree_does_not_have_is_not_applicable() -> None:
    bare: Any = FakeJourney(broken_host({"sh -c command -v": None}), HEALTHY_STOPS)
    for name in ("system-containers-survive-a-reboot", "container-units-survive-a-reboot"):
        with pytest.raises(NotApplicableError, match="the tree has no"):
            ON_JOURNEY[name].run(bare)
    with pytest.raises(NotApplicableError, match="the first release: no parent"):
        upgrade.test_upgrades_from_the_previous_release(bare, "the first release: no parent")
    with pytest.raises(NotApplicableError, match="nothing to grow into"):
        disk_grows.test_the_disk_grows(host(), replace(EXPECTED, grown=0))
    with pytest.raises(NotApplicableError, match="no SELinux"):
        selinux.test_selinux_is_enforcing_and_files_are_labelled(host())


def test_a_busy_build_host_is_no_broken_kernel() -> None:
    slow = "[   76.677155] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [(udev-worker):433]"
    nothing_fatal.test_nothing_fatal_was_logged(
        Records(consoles=slow, journals=slow.replace("] ", "] h kernel: ", 1)), EXPECTED
    )


def test_messages_that_are_known_are_allowed() -> None:
    line = Records(consoles="h kernel: x[1]: segfault at 0 ip 00 sp 00\n", journals="")
    nothing_fatal.test_nothing_fatal_was_logged(line, expected(allowed_messages=(r"x\[1\]: segfault",)))
    with pytest.raises(AssertionError, match="segmentation fault"):
        nothing_fatal.test_nothing_fatal_was_logged(line, EXPECTED)


@pytest.mark.parametrize("name", [name for name in ON_HOST if name not in (AWAY, SELINUX, *ROOT)])
def test_passes_on_a_healthy_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    ON_HOST[name].run(host(), EXPECTED)


@pytest.mark.parametrize("name", [name for name in ON_HOST if name not in (SELINUX, *ROOT)])
def test_passes_or_is_not_applicable_on_a_healthy_box(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    healthy = broken_host(HEALTHY_BOX)
    if name.startswith("cloud-init"):
        with pytest.raises(NotApplicableError, match="masked"):
            ON_HOST[name].run(healthy, BOX)
    else:
        ON_HOST[name].run(healthy, BOX)


def test_secure_boot_is_asked_of_machines_that_have_it() -> None:
    for firmware in (Firmware.BIOS, Firmware.UEFI):
        with pytest.raises(NotApplicableError, match=f"with {firmware} firmware has no Secure Boot"):
            secure_boot.test_secure_boot_is_on(broken_host({}), replace(EXPECTED, firmware=firmware))


def test_a_cloud_image_has_no_vagrant_in_it() -> None:
    with pytest.raises(NotApplicableError, match="not a Vagrant box"):
        ON_HOST[AWAY].run(broken_host({"getent passwd vagrant": None, "sh -c grep": None}), EXPECTED)


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        (
            "cloud-init-sets-the-hostname",
            {"systemctl show cloud-init.service": "LoadState=loaded\n"},
            "these are not masked: cloud-init.service",
        ),
        (
            AWAY,
            {"cat /home/vagrant/.ssh/authorized_keys": vagrant_key.PUBLIC + "\nssh-rsa AAAA mine\n"},
            "holds something else",
        ),
        (
            AWAY,
            {"stat": "755 vagrant\n644 vagrant\n", "stat -c %a %U": "755 vagrant\n644 vagrant\n"},
            "modes and owners",
        ),
        (AWAY, {"id -un": "vagrant\n"}, "cannot become root"),
    ],
)
def test_fails_on_a_broken_box(name: str, broken: dict[str, str | None], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        ON_HOST[name].run(broken_host(HEALTHY_BOX | broken), BOX)


@pytest.mark.parametrize(
    ("name", "broken", "reason"), BROKEN, ids=[f"{name}-{reason}" for name, _, reason in BROKEN]
)
def test_fails_on_a_broken_host(
    name: str, broken: Answers, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("time.time", lambda: 0.0)
    with pytest.raises(AssertionError, match=reason.replace("(", r"\(")):
        ON_HOST[name].run(broken_host(dict(broken)), EXPECTED)


def test_every_criterion_has_a_test_that_it_fails() -> None:
    assert all(case.broken for case in CASES.values())
    assert {*CASES, "artifact-boots"} == set(names()), "a new criterion needs a table in broken/"


def test_storage_that_cannot_be_checked_is_not_tested() -> None:
    with pytest.raises(NotTestedError, match="btrfs"):
        storage.test_container_storage_is_set_up(host(), expected(storage="btrfs"))


@pytest.mark.parametrize("profile", STORAGE)
def test_each_storage_profile_passes_where_it_is_set_up(profile: str) -> None:
    storage.test_container_storage_is_set_up(broken_host(dict(STORAGE[profile])), expected(storage=profile))


@pytest.mark.parametrize(
    ("profile", "broken", "reason"),
    BROKEN_STORAGE,
    ids=[f"{name}-{reason}" for name, _, reason in BROKEN_STORAGE],
)
def test_each_storage_profile_fails_where_it_is_not(
    profile: str, broken: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(AssertionError, match=reason):
        storage.test_container_storage_is_set_up(
            broken_host(dict(STORAGE[profile]) | broken), expected(storage=profile)
        )


def test_an_artifact_that_does_not_boot_fails() -> None:
    boots.test_artifact_boots(Boot(host=host(), expected=EXPECTED, problem=None, phases={}))
    with pytest.raises(AssertionError, match="panicked"):
        boots.test_artifact_boots(
            Boot(host=None, expected=EXPECTED, problem="the kernel panicked", phases={})
        )


def test_an_rpm_ostree_host_with_layered_packages_is_compared_by_its_base() -> None:
    layered = {
        "booted": True,
        "checksum": "ee",
        "base-checksum": EXPECTED.promise.commit,
        "version": "26.1",
        "origin": "fedora-atomic:fedora/26/x86_64/atomic-host",
    }
    status = json.dumps({"deployments": [{"booted": False, "checksum": "ff"}, layered]})
    fedora = Host(
        transport=FakeTransport({"rpm-ostree status --json": status}), commands=RpmOstreeHost(), slowness=0.0
    )
    assert fedora.booted().commit == EXPECTED.promise.commit
    assert fedora.booted().origin == "fedora-atomic:fedora/26/x86_64/atomic-host"


def test_an_image_of_an_unknown_commit_is_not_tested_for_it() -> None:
    with pytest.raises(NotTestedError, match="nobody said which commit"):
        boots.test_boots_the_released_commit(host(), expected(commit_given=False))


def test_a_silent_host_is_no_pass_but_its_console_counts() -> None:
    with pytest.raises(NotTestedError, match="not every journal"):
        nothing_fatal.test_nothing_fatal_was_logged(
            Records(consoles="", journals="", silent="no connection"), EXPECTED
        )
    with pytest.raises(AssertionError, match="tripped over itself"):
        nothing_fatal.test_nothing_fatal_was_logged(
            Records(consoles="[    1.5] BUG: x\n", journals="", silent="no connection"), EXPECTED
        )


def test_a_program_that_hangs_on_a_host_that_answers_is_the_products_fault() -> None:
    class Hanging(FakeTransport):
        def run(self, argv: Any, *, stdin: bytes = b"", timeout: float) -> Answer:
            return Answer(
                status=0 if list(argv) == ["true"] and self.answers else 255,
                output="",
                complaint="no answer",
                seconds=0.0,
            )

    for answers, error in (({"x": ""}, AssertionError), ({}, RigError)):
        with pytest.raises(error):
            Host(transport=Hanging(dict(answers)), commands=RpmOstreeHost(), slowness=0.0).run("docker", "ps")
