"""Every criterion passes on a healthy host, and fails on a host that is broken in that way."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from imagebuild.kinds import Login
from imagebuild.smoke.container_units import CONTAINER_UNIT, SYSTEM_UNIT
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.criteria import test_boots as boots
from imagebuild.smoke.criteria import test_cloud_init_hostname as hostname
from imagebuild.smoke.criteria import test_cloud_init_ssh_key as ssh_key
from imagebuild.smoke.criteria import test_cloud_init_user_script as user_script
from imagebuild.smoke.criteria import test_container_service as service
from imagebuild.smoke.criteria import test_container_storage as storage
from imagebuild.smoke.criteria import test_containers_run as containers
from imagebuild.smoke.criteria import test_deploy_older as deploy_older
from imagebuild.smoke.criteria import test_disk_grows as disk_grows
from imagebuild.smoke.criteria import test_layering as layering
from imagebuild.smoke.criteria import test_machine_id as machine_id
from imagebuild.smoke.criteria import test_no_failed_units as units
from imagebuild.smoke.criteria import test_nothing_fatal as nothing_fatal
from imagebuild.smoke.criteria import test_rollback as rollback
from imagebuild.smoke.criteria import test_sanity as sanity
from imagebuild.smoke.criteria import test_selinux as selinux
from imagebuild.smoke.criteria import test_system_containers as system_containers
from imagebuild.smoke.criteria import test_upgrade as upgrade
from imagebuild.smoke.criteria import test_upgrade_keys as upgrade_keys
from imagebuild.smoke.criteria import test_upgrade_remote as upgrade_remote
from imagebuild.smoke.criteria import test_vagrant_login as vagrant_login
from imagebuild.smoke.criteria.registry import names
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError, RigError
from imagebuild.smoke.host.expected import Expected, Records
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.smoke.journey import Stop
from imagebuild.smoke.own_keys import pull_with_own_keys
from imagebuild.smoke.served import PACKAGE
from imagebuild.tools import vagrant_key
from imagebuild.tools.rpm import BY_POST, IN_DATA, IN_ETC, Package
from imagebuild.tools.ssh import Answer
from tests.fakes import (
    BOOT_LINK,
    BROKEN_STORAGE,
    COMMIT,
    DEPLOYED,
    EXPECTED,
    HEALTHY,
    HEALTHY_BOX,
    HEALTHY_STOPS,
    NEXT,
    OLDER,
    REFUSED,
    STORAGE,
    FakeJourney,
    FakeTransport,
    broken_host,
    deployment,
    expected,
    host,
)

CRITERIA: dict[str, Callable[[Host, Expected], None]] = {
    "boots-the-released-commit": boots.test_boots_the_released_commit,
    "upgrades-come-from-the-releases-remote": upgrade_remote.test_upgrades_come_from_the_releases_remote,
    "the-images-own-keys-verify-the-release": lambda host, expected: (
        upgrade_keys.test_the_images_own_keys_verify_the_release(
            host,
            expected,
            lambda: pull_with_own_keys(host, expected.promise.refspec, "http://10.0.2.100/repo"),
        )
    ),
    "cloud-init-passes-an-ssh-key": ssh_key.test_cloud_init_passes_an_ssh_key,
    "cloud-init-sets-the-hostname": hostname.test_cloud_init_sets_the_hostname,
    "cloud-init-runs-the-user-script": user_script.test_cloud_init_runs_the_user_script,
    "no-unit-has-failed": units.test_no_unit_has_failed,
    "container-storage-is-set-up": storage.test_container_storage_is_set_up,
    "container-service-starts": lambda host, _: service.test_container_service_starts(host),
    "containers-run": containers.test_containers_run,
    "containers-have-a-network-and-volumes": containers.test_containers_have_a_network_and_volumes,
    "the-machine-id-is-unique": lambda host, _: machine_id.test_the_machine_id_is_unique(host, ("cd" * 16,)),
    "selinux-is-enforcing-and-files-are-labelled": lambda host, _: (
        selinux.test_selinux_is_enforcing_and_files_are_labelled(host)
    ),
    "tmp-is-everybodys": lambda host, _: sanity.test_tmp_is_everybodys(host),
    "the-clock-is-right": lambda host, _: sanity.test_the_clock_is_right(host),
    "the-disk-grows": disk_grows.test_the_disk_grows,
    "nothing-fatal-was-logged": lambda host, expected: nothing_fatal.test_nothing_fatal_was_logged(
        _records(host), expected
    ),
    "vagrant-logs-in-with-the-insecure-key": vagrant_login.test_vagrant_logs_in_with_the_insecure_key,
}
# what is found at the end of legs
ON_THE_WAY: dict[str, Callable[[Any], None]] = {
    "cloud-init-does-not-run-scripts-again": user_script.test_cloud_init_does_not_run_scripts_again,
    "a-second-boot-leaves-storage-unchanged": storage.test_a_second_boot_leaves_storage_unchanged,
    "upgrades-to-the-next-release": upgrade.test_upgrades_to_the_next_release,
    "refuses-an-unsigned-upgrade": upgrade.test_refuses_an_unsigned_upgrade,
    "upgrades-from-the-previous-release": lambda journey: upgrade.test_upgrades_from_the_previous_release(
        journey, ""
    ),
    "rolls-back-to-where-it-came-from": rollback.test_rolls_back_to_where_it_came_from,
    "etc-follows-the-deployment": rollback.test_etc_follows_the_deployment,
    "var-and-container-data-stay": rollback.test_var_and_container_data_stay,
    "upgrades-again-after-a-rollback": rollback.test_upgrades_again_after_a_rollback,
    "deploys-an-older-release-when-fresh": deploy_older.test_deploys_an_older_release_when_fresh,
    "deploys-an-older-release-when-upgraded": deploy_older.test_deploys_an_older_release_when_upgraded,
    "layers-a-package": lambda journey: layering.test_layers_a_package(journey, "url"),
    "a-layered-package-survives-an-upgrade": lambda journey: (
        layering.test_a_layered_package_survives_an_upgrade(journey, "url")
    ),
    "a-layered-package-can-be-removed": lambda journey: layering.test_a_layered_package_can_be_removed(
        journey, "url"
    ),
    "system-containers-survive-a-reboot": system_containers.test_system_containers_survive_a_reboot,
    "container-units-survive-a-reboot": system_containers.test_container_units_survive_a_reboot,
}


def _records(host: Host) -> Records:
    return Records(consoles=host.succeeds("date", "+%s"), journals=host.journal())


REMOTE, KEYS = "upgrades-come-from-the-releases-remote", "the-images-own-keys-verify-the-release"
REMOTE_FILE = "cat /etc/ostree/remotes.d/debian-atomic.conf"
AWAY = "vagrant-logs-in-with-the-insecure-key"
BOX = expected(login=Login.VAGRANT, user="vagrant", public_key=vagrant_key.PUBLIC)

SELINUX = "selinux-is-enforcing-and-files-are-labelled"
LABELLED: dict[str, str | None] = {
    "test -e": "",
    "getenforce": "Enforcing\n",
    "stat -c %C": "system_u:object_r:root_t:s0\n",
    "journalctl -b --no-pager": "",
}
FATAL_LINES = (
    ("h kernel: Oops: 0000 [#1] SMP\n", "tripped over itself"),
    ("h kernel: BUG: unable to handle page fault\n", "tripped over itself"),
    ("h kernel: x[1]: segfault at 0 ip 00 sp 00 error 4\n", "segmentation fault"),
    ("h kernel: Out of memory: Killed process 1 (x)\n", "memory ran out"),
    ("h systemd[1]: a.service: Found ordering cycle on b.service/start\n", "in a circle"),
    ("h systemd[1]: Reached target emergency.target - Emergency Mode.\n", "emergency mode"),
    ("h kernel: XFS (dm-0): Metadata corruption detected\n", "is damaged"),
    ("h x[1]: write: No space left on device\n", "a disk was full"),
)
OTHER = "cd" * 32
ELSEWHERE = DEPLOYED.replace("ab" * 32, OTHER)
BOOTED_ELSEWHERE = {
    f"readlink -f /sysroot{BOOT_LINK}": ELSEWHERE,
    "sh -c stat -L": f"1:2 /\n1:2 {ELSEWHERE}\n",
    f"cat {ELSEWHERE}.origin": HEALTHY[f"cat {DEPLOYED}.origin"],
}
BROKEN: list[tuple[str, dict[str, str | None], str]] = [
    ("boots-the-released-commit", BOOTED_ELSEWHERE, f"booted {OTHER}"),
    ("boots-the-released-commit", {"sh -c stat -L": "1:2 /\n"}, "booted no deployment"),
    (
        "boots-the-released-commit",
        {"ostree --repo=/sysroot/ostree/repo show": "'12.2'\n"},
        "booted version '12.2'",
    ),
    (
        "boots-the-released-commit",
        {f"cat {DEPLOYED}.origin": f"[origin]\nrefspec={OTHER}\n"},
        "upgrades would come from",
    ),
    (REMOTE, {REMOTE_FILE: None}, "has no remote debian-atomic"),
    (
        REMOTE,
        {REMOTE_FILE: '[remote "debian-atomic"]\nurl=file:///ostree/repo\n'},
        "is 'file:///ostree/repo', not",
    ),
    (
        REMOTE,
        {REMOTE_FILE: '[remote "debian-atomic"]\nurl=https://ostree.example.org/debian\ngpg-verify=false\n'},
        "are not checked",
    ),
    (
        KEYS,
        {"sh -c \nset -eu\nrm -rf": None},
        "refuses the released commit itself, and would every later one: sh: no",
    ),
    (
        REMOTE,
        {"test -s /usr/share/ostree/debian-atomic.asc": None},
        "that upgrades are checked with is not there",
    ),
    (
        "cloud-init-passes-an-ssh-key",
        {"cat /home/debian/.ssh/authorized_keys": "ssh-rsa else\n"},
        "the seed's key is not in",
    ),
    (
        "cloud-init-passes-an-ssh-key",
        {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "DataSourceNone", "errors": []}}'},
        "not the seed",
    ),
    ("cloud-init-sets-the-hostname", {"uname -n": "localhost\n"}, "calls itself 'localhost'"),
    ("cloud-init-sets-the-hostname", {"cat /etc/hostname": None}, "lost at the next boot"),
    ("cloud-init-sets-the-hostname", {"cat /run/cloud-init/result.json": None}, "did not write"),
    ("cloud-init-runs-the-user-script", {"cat /var/tmp/imagebuild-user-script": None}, "did not run"),
    (
        "cloud-init-runs-the-user-script",
        {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "NoCloud", "errors": ["bad"]}}'},
        "reports errors",
    ),
    (
        "cloud-init-runs-the-user-script",
        {"cat /run/cloud-init/result.json": None, "systemctl show cloud-final.service": "LoadState=masked\n"},
        "masked",
    ),
    (
        "cloud-init-runs-the-user-script",
        {
            "cat /run/cloud-init/result.json": None,
            "systemctl show cloud-final.service": "ActiveState=failed\n",
        },
        "has failed",
    ),
    (
        "no-unit-has-failed",
        {
            "systemctl list-units": (
                f"{CONTAINER_UNIT} loaded failed failed A container\nboot.mount loaded failed failed /boot\n"
            )
        },
        "failed: boot.mount",
    ),
    ("no-unit-has-failed", {"systemctl list-units": "boot.mount loaded failed failed /boot\n"}, "boot.mount"),
    (
        "container-storage-is-set-up",
        {"podman info": '{"store": {"graphDriverName": "vfs"}}'},
        "'vfs', not 'overlay'",
    ),
    (
        "container-storage-is-set-up",
        {
            "podman info": (
                HEALTHY["podman info"].replace('"true"', '"false"') if HEALTHY["podman info"] else None
            )
        },
        "d_type",
    ),
    (
        "container-storage-is-set-up",
        {"podman info": '{"store": {"graphDriverName": "overlay", "graphRoot": "/tmp/x"}}'},
        "keeps its images in '/tmp/x'",
    ),
    (
        "container-storage-is-set-up",
        {"findmnt -n -o SOURCE -T /var/lib/containers/storage": "tmpfs\n"},
        "lies on tmpfs",
    ),
    ("container-service-starts", {"systemctl start docker.service": None}, "docker.service does not start"),
    (
        "container-service-starts",
        {"systemctl show podman.socket": "ActiveState=failed\n"},
        "podman.socket is failed",
    ),
    (
        "container-service-starts",
        {
            "systemctl show docker.service": "LoadState=not-found\n",
            "systemctl show podman.socket": "LoadState=not-found\n",
        },
        "has a unit",
    ),
    ("container-service-starts", {"sh -c command -v": None}, "neither docker nor podman"),
    ("containers-run", {"docker run": None}, "ended with 1"),
    ("containers-run", {"podman run": "goodbye\n"}, "said 'goodbye'"),
    ("containers-run", {"podman pull": None}, "podman pull"),
    ("containers-have-a-network-and-volumes", {"docker run --rm -v": None}, "docker run --rm -v"),
    (
        "containers-have-a-network-and-volumes",
        {"podman run --rm --network=none -v": "\n"},
        "next container of podman found ''",
    ),
    ("the-machine-id-is-unique", {"cat /etc/machine-id": "cd" * 16}, "has the same machine-id"),
    ("the-machine-id-is-unique", {"cat /etc/machine-id": "uninitialized\n"}, "holds 'uninitialized'"),
    (SELINUX, LABELLED | {"getenforce": "Permissive\n"}, "SELinux is Permissive"),
    (SELINUX, LABELLED | {"stat -c %C /boot": "system_u:object_r:unlabeled_t:s0\n"}, "nobody labelled /boot"),
    (SELINUX, LABELLED | {"stat -c %C /sysroot": "?\n"}, "/sysroot has no label"),
    (
        SELINUX,
        LABELLED | {"journalctl -b --no-pager": "AVC avc:  denied { read } for x\n"},
        "denied something",
    ),
    ("tmp-is-everybodys", {"stat -L -c %a /tmp": "755\n"}, "has mode 755"),
    ("the-clock-is-right", {"date +%s": "1000\n"}, "1000 s away"),
    (
        "the-disk-grows",
        {"lsblk --noheadings --list --bytes": "vda 7516192768 disk\nvda1 6058655232 part\n"},
        "they were not grown",
    ),
    ("the-disk-grows", {"findmnt -b -n -o SIZE /sysroot": "3000000000\n"}, "the root file system has"),
    ("the-disk-grows", {"pvs": "  6058655232\n"}, "the physical volume has"),
    (AWAY, {"sh -c grep": "/var/roothome/.ssh/authorized_keys\n"}, "opens an image that is no Vagrant box"),
    (
        AWAY,
        {"sh -c grep": None, "getent passwd vagrant": "vagrant:x:1000:1000::/home/vagrant:/bin/bash\n"},
        "has the user vagrant",
    ),
]


BROKEN += [("nothing-fatal-was-logged", {"journalctl": line}, reason) for line, reason in FATAL_LINES]
PARTS = Package(PACKAGE)
# of what was layered nothing is left
GONE: dict[str, str | None] = dict.fromkeys(
    (f"getent passwd {PARTS.user}", f"getent group {PARTS.user}", "sh -c command -v", "test -e")
)
BROKEN_ON_THE_WAY: list[tuple[str, dict[str, Any], str]] = [
    ("cloud-init-does-not-run-scripts-again", {"upgraded": {"script_runs": (1, 2)}}, "have run (1, 2) times"),
    (
        "cloud-init-does-not-run-scripts-again",
        {"upgraded": {"hostname": "localhost"}},
        "calls itself 'localhost'",
    ),
    ("a-second-boot-leaves-storage-unchanged", {"upgraded": {"storage": "vdb"}}, "a second boot changed"),
    (
        "upgrades-to-the-next-release",
        {"upgraded": HEALTHY_STOPS["start"]},
        f"after the upgrade {COMMIT} runs",
    ),
    (
        "upgrades-to-the-next-release",
        {"upgraded": {"deployments": (deployment(NEXT, booted=True, origin=NEXT), deployment(COMMIT))}},
        "would upgrade from",
    ),
    (
        "upgrades-to-the-next-release",
        {"upgraded": {"deployments": (deployment(NEXT, booted=True),)}},
        "there is no way back",
    ),
    (
        "upgrades-to-the-next-release",
        {"upgraded": {"initramfs": ""}},
        "one without a mark instead of the one of release 'next'",
    ),
    (
        "upgrades-to-the-next-release",
        {"upgraded": {"failed_units": ("x.service",)}},
        "have failed: x.service",
    ),
    ("refuses-an-unsigned-upgrade", {"refusal": replace(REFUSED, status=0)}, "nobody signed"),
    (
        "refuses-an-unsigned-upgrade",
        {"refusal": replace(REFUSED, complaint="error: Server returned HTTP 404")},
        "not for its signature",
    ),
    ("refuses-an-unsigned-upgrade", {"deployed": True}, "changed the host's deployments"),
    (
        "upgrades-from-the-previous-release",
        {"from_previous": HEALTHY_STOPS["older_on_fresh"]},
        "the host came to",
    ),
    ("rolls-back-to-where-it-came-from", {"rolled_back": HEALTHY_STOPS["upgraded"]}, "after the rollback"),
    (
        "rolls-back-to-where-it-came-from",
        {"rolled_back": {"deployments": (deployment(COMMIT, booted=True, origin=COMMIT),)}},
        "would upgrade from",
    ),
    (
        "rolls-back-to-where-it-came-from",
        {"rolled_back": {"initramfs": "next"}},
        "the one of release 'next' instead of one without a mark",
    ),
    ("upgrades-again-after-a-rollback", {"forward": {"initramfs": ""}}, "runs with another initramfs"),
    (
        "upgrades-from-the-previous-release",
        {"from_previous": {"initramfs": "older"}},
        "runs with another initramfs",
    ),
    (
        "deploys-an-older-release-when-fresh",
        {"older_on_fresh": {"initramfs": ""}},
        "runs with another initramfs",
    ),
    (
        "deploys-an-older-release-when-fresh",
        {"lost": "the history ends"},
        "`Version 0d not found`: the history ends",
    ),
    (
        "deploys-an-older-release-when-upgraded",
        {"older_on_upgraded": {"initramfs": "next"}},
        "runs with another initramfs",
    ),
    ("etc-follows-the-deployment", {"upgraded": {"before": False}}, "before the upgrade is gone after it"),
    ("etc-follows-the-deployment", {"rolled_back": {"before": False}}, "gone after the rollback"),
    ("etc-follows-the-deployment", {"rolled_back": {"after": True}}, "still there after the rollback"),
    ("var-and-container-data-stay", {"rolled_back": {"var": False}}, "/var is gone after the rollback"),
    ("var-and-container-data-stay", {"upgraded": {"volume": ""}}, "volume holds ''"),
    ("var-and-container-data-stay", {"problems": {"volume": "podman run failed"}}, "could keep anything"),
    ("var-and-container-data-stay", {"rolled_back": {"machine_id": "cd" * 16}}, "machine-id changed"),
    (
        "upgrades-again-after-a-rollback",
        {"forward": HEALTHY_STOPS["rolled_back"]},
        "does not get forward again",
    ),
    ("deploys-an-older-release-when-fresh", {"older_on_fresh": HEALTHY_STOPS["start"]}, "deployed 0d, but"),
    (
        "deploys-an-older-release-when-fresh",
        {
            "older_on_fresh": {
                "deployments": (deployment(OLDER, booted=True, origin=OLDER), deployment(COMMIT))
            }
        },
        "would upgrade",
    ),
    (
        "deploys-an-older-release-when-upgraded",
        {"older_on_upgraded": {"deployments": (deployment(NEXT), deployment(COMMIT, booted=True))}},
        "next boot",
    ),
    (
        "deploys-an-older-release-when-upgraded",
        {"older_on_upgraded": {"deployments": (deployment(COMMIT, booted=True),)}},
        "no deployment to go back",
    ),
    ("layers-a-package", {"layered": HEALTHY_STOPS["start"]}, "has layered"),
    (
        "layers-a-package",
        {"layered": {"deployments": (deployment(NEXT, booted=True, requested=(PACKAGE,)),)}},
        "below the package lies",
    ),
    ("layers-a-package", {"answers": {PACKAGE: "no\n"}}, "does not run"),
    ("layers-a-package", {"answers": {"rpm -q": None}}, f"rpm does not know {PACKAGE}"),
    ("layers-a-package", {"answers": {f"rpm -q {PARTS.data}": None}}, f"rpm does not know {PARTS.data}"),
    ("layers-a-package", {"answers": {f"getent passwd {PARTS.user}": None}}, "has made no"),
    ("layers-a-package", {"answers": {f"getent group {PARTS.user}": None}}, "in group"),
    ("layers-a-package", {"answers": {f"cat {PARTS.mark}": None}}, "did not run: there is no"),
    ("layers-a-package", {"answers": {f"cat {PARTS.etc}": "else\n"}}, "in /etc is not what it brought"),
    (
        "layers-a-package",
        {"answers": {f"cat {PARTS.needed}": None}},
        "which imagebuild-layered needs, is not whole",
    ),
    ("a-layered-package-survives-an-upgrade", {"answers": {f"cat {PARTS.mark}": None}}, "did not run"),
    ("a-layered-package-survives-an-upgrade", {"layered_upgraded": HEALTHY_STOPS["upgraded"]}, "are layered"),
    ("a-layered-package-can-be-removed", {"unlayered": HEALTHY_STOPS["layered"]}, "still layered"),
    ("a-layered-package-can-be-removed", {"answers": {"sh -c command -v": "/usr/bin/x\n"}}, "still there"),
    (
        "a-layered-package-can-be-removed",
        {"answers": GONE | {f"getent passwd {PARTS.user}": f"{PARTS.user}:x:990:\n"}},
        "still in passwd",
    ),
    (
        "a-layered-package-can-be-removed",
        {"answers": GONE | {f"test -e {PARTS.etc}": ""}},
        f"still there: {PARTS.etc}",
    ),
    (
        "system-containers-survive-a-reboot",
        {"upgraded": {"units": {SYSTEM_UNIT: "failed", CONTAINER_UNIT: "active"}}},
        f"{SYSTEM_UNIT} is failed",
    ),
    ("system-containers-survive-a-reboot", {"answers": {"atomic containers list": "[]"}}, "does not list"),
    (
        "container-units-survive-a-reboot",
        {"upgraded": {"units": {CONTAINER_UNIT: "", SYSTEM_UNIT: "active"}}},
        "is not there",
    ),
    ("container-units-survive-a-reboot", {"problems": {CONTAINER_UNIT: "no"}}, "cannot be started"),
]
ON_A_FEDORA: dict[str, str | None] = {
    PACKAGE: "layered\n",
    "rpm -q": "x\n",
    **{f"getent {database} {PARTS.user}": f"{PARTS.user}:x:990:\n" for database in ("passwd", "group")},
    f"cat {PARTS.etc}": f"{IN_ETC}\n",
    f"cat {PARTS.needed}": f"{IN_DATA}\n",
    f"cat {PARTS.mark}": f"{BY_POST}\n",
    "atomic containers list": '[{"container_name": "imagebuild-system"}]',
}


def journey_of(broken: dict[str, Any]) -> Any:
    stops = {
        name: broken[name] if isinstance(broken.get(name), Stop) else replace(one, **broken.get(name, {}))
        for name, one in HEALTHY_STOPS.items()
    }
    bare: dict[str, str | None] = {"sh -c command -v": None}
    answers = ON_A_FEDORA | (broken.get("answers") or bare)
    journey = FakeJourney(
        broken_host(answers), stops, refusal=broken.get("refusal", REFUSED), problems=broken.get("problems")
    )
    journey.deployed = bool(broken.get("deployed"))
    journey.releases.lost = broken.get("lost", "")
    return journey


def test_legs_of_a_healthy_host_pass() -> None:
    for name, criterion in ON_THE_WAY.items():
        criterion(
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
        ON_THE_WAY[name](journey_of(broken))


def test_what_a_tree_does_not_have_is_not_applicable() -> None:
    bare: Any = FakeJourney(broken_host({"sh -c command -v": None}), HEALTHY_STOPS)
    for name in ("system-containers-survive-a-reboot", "container-units-survive-a-reboot"):
        with pytest.raises(NotApplicableError, match="the tree has no"):
            ON_THE_WAY[name](bare)
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


@pytest.mark.parametrize("name", [name for name in CRITERIA if name not in (AWAY, SELINUX)])
def test_passes_on_a_healthy_host(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    CRITERIA[name](host(), EXPECTED)


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != SELINUX])
def test_passes_or_is_not_applicable_on_a_healthy_box(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    healthy = broken_host(HEALTHY_BOX)
    if name.startswith("cloud-init"):
        with pytest.raises(NotApplicableError, match="masked"):
            CRITERIA[name](healthy, BOX)
    else:
        CRITERIA[name](healthy, BOX)


def test_a_cloud_image_has_no_vagrant_in_it() -> None:
    with pytest.raises(NotApplicableError, match="no Vagrant box"):
        CRITERIA[AWAY](broken_host({"getent passwd vagrant": None, "sh -c grep": None}), EXPECTED)


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
        CRITERIA[name](broken_host(HEALTHY_BOX | broken), BOX)


@pytest.mark.parametrize(
    ("name", "broken", "reason"), BROKEN, ids=[f"{name}-{reason}" for name, _, reason in BROKEN]
)
def test_fails_on_a_broken_host(
    name: str, broken: dict[str, str | None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("time.time", lambda: 0.0)
    with pytest.raises(AssertionError, match=reason.replace("(", r"\(")):
        CRITERIA[name](broken_host(broken), EXPECTED)


def test_every_criterion_has_a_test_that_it_fails() -> None:
    assert {name for name, _, _ in BROKEN} == set(CRITERIA)
    assert {name for name, _, _ in BROKEN_ON_THE_WAY} == set(ON_THE_WAY)
    assert {*CRITERIA, *ON_THE_WAY, "artifact-boots"} == set(names()), (
        "a new criterion needs rows in this test"
    )


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
    boots.test_artifact_boots(Boot(host=host(), expected=EXPECTED, problem="", phases={}))
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


def test_the_required_cells_are_read_from_the_criteria() -> None:
    assert set(names()) < set(criteria.required(atomic=True))
    assert "upgrades-to-the-next-release-by-atomic-host" in criteria.required(atomic=True)
    assert criteria.required(atomic=False) == names()
    assert set(criteria.firmware_bound()) == {
        "upgrades-to-the-next-release",
        "rolls-back-to-where-it-came-from",
    }
    assert not set(criteria.firmware_bound()) & set(criteria.at_first_boot())
