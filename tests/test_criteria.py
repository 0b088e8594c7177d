"""Every criterion passes on a healthy host, and fails on a host that is broken in that way."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.criteria import (
    test_boots as boots,
)
from imagebuild.criteria import (
    test_cloud_init_hostname as hostname,
)
from imagebuild.criteria import (
    test_cloud_init_ssh_key as ssh_key,
)
from imagebuild.criteria import (
    test_cloud_init_user_script as user_script,
)
from imagebuild.criteria import (
    test_container_service as service,
)
from imagebuild.criteria import (
    test_container_storage as storage,
)
from imagebuild.criteria import (
    test_containers_run as containers,
)
from imagebuild.criteria import (
    test_no_failed_units as units,
)
from imagebuild.criteria import (
    test_upgrade_remote as upgrade_remote,
)
from imagebuild.criteria import (
    test_vagrant_login as vagrant_login,
)
from imagebuild.guest import Boot, Expected, Host, NotApplicableError, NotTestedError
from imagebuild.hosts.rpm_ostree import RpmOstreeHost
from imagebuild.kinds import Login
from imagebuild.tools import vagrant_key
from tests.fakes import (
    BOOT_LINK,
    BROKEN_STORAGE,
    DEPLOYED,
    EXPECTED,
    HEALTHY,
    HEALTHY_BOX,
    STORAGE,
    FakeTransport,
    broken_host,
    host,
)

CRITERIA: dict[str, Callable[[Host, Expected], None]] = {
    "boots-the-released-commit": boots.test_boots_the_released_commit,
    "upgrades-come-from-the-releases-remote": upgrade_remote.test_upgrades_come_from_the_releases_remote,
    "cloud-init-passes-an-ssh-key": ssh_key.test_cloud_init_passes_an_ssh_key,
    "cloud-init-sets-the-hostname": hostname.test_cloud_init_sets_the_hostname,
    "cloud-init-runs-the-user-script": user_script.test_cloud_init_runs_the_user_script,
    "no-unit-has-failed": units.test_no_unit_has_failed,
    "container-storage-is-set-up": storage.test_container_storage_is_set_up,
    "container-service-starts": lambda host, _: service.test_container_service_starts(host),
    "containers-run": lambda host, _: containers.test_containers_run(host),
    "vagrant-logs-in-with-the-insecure-key": vagrant_login.test_vagrant_logs_in_with_the_insecure_key,
}
REMOTE = "upgrades-come-from-the-releases-remote"
REMOTE_FILE = "cat /etc/ostree/remotes.d/debian-atomic.conf"
AWAY = "vagrant-logs-in-with-the-insecure-key"
BOX = replace(EXPECTED, login=Login.VAGRANT, user="vagrant", public_key=vagrant_key.PUBLIC)

OTHER = "cd" * 32
ELSEWHERE = DEPLOYED.replace("ab" * 32, OTHER)
BROKEN: list[tuple[str, dict[str, str | None], str]] = [
    ("boots-the-released-commit", {f"readlink -f /sysroot{BOOT_LINK}": ELSEWHERE, f"cat {ELSEWHERE}.origin": HEALTHY[f"cat {DEPLOYED}.origin"]}, f"booted {OTHER}"),
    ("boots-the-released-commit", {"cat /proc/cmdline": "root=/dev/vda1\n"}, "booted no deployment"),
    ("boots-the-released-commit", {"ostree --repo=/sysroot/ostree/repo show": "'12.2'\n"}, "booted version '12.2'"),
    ("boots-the-released-commit", {f"cat {DEPLOYED}.origin": f"[origin]\nrefspec={OTHER}\n"}, "upgrades would come from"),
    (REMOTE, {REMOTE_FILE: None}, "has no remote debian-atomic"),
    (REMOTE, {REMOTE_FILE: '[remote "debian-atomic"]\nurl=file:///ostree/repo\n'}, "is 'file:///ostree/repo', not"),
    (REMOTE, {REMOTE_FILE: '[remote "debian-atomic"]\nurl=https://ostree.example.org/debian\ngpg-verify=false\n'}, "are not checked"),
    (REMOTE, {"test -s /usr/share/ostree/debian-atomic.asc": None}, "that upgrades are checked with is not there"),
    ("cloud-init-passes-an-ssh-key", {"cat /home/debian/.ssh/authorized_keys": "ssh-rsa else\n"}, "the seed's key is not in"),
    ("cloud-init-passes-an-ssh-key", {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "DataSourceNone", "errors": []}}'}, "not the seed"),
    ("cloud-init-sets-the-hostname", {"uname -n": "localhost\n"}, "calls itself 'localhost'"),
    ("cloud-init-sets-the-hostname", {"cat /etc/hostname": None}, "lost at the next boot"),
    ("cloud-init-sets-the-hostname", {"cat /run/cloud-init/result.json": None}, "did not write"),
    ("cloud-init-runs-the-user-script", {"cat /var/tmp/imagebuild-user-script": None}, "did not run"),
    ("cloud-init-runs-the-user-script", {"cat /run/cloud-init/result.json": '{"v1": {"datasource": "NoCloud", "errors": ["bad"]}}'}, "reports errors"),
    ("cloud-init-runs-the-user-script", {"cat /run/cloud-init/result.json": None, "systemctl show cloud-final.service": "LoadState=masked\n"}, "masked"),
    ("cloud-init-runs-the-user-script", {"cat /run/cloud-init/result.json": None, "systemctl show cloud-final.service": "ActiveState=failed\n"}, "has failed"),
    ("no-unit-has-failed", {"systemctl list-units": "boot.mount loaded failed failed /boot\n"}, "boot.mount"),
    ("container-storage-is-set-up", {"podman info": '{"store": {"graphDriverName": "vfs"}}'}, "'vfs', not 'overlay'"),
    ("container-storage-is-set-up", {"podman info": HEALTHY["podman info"].replace('"true"', '"false"') if HEALTHY["podman info"] else None}, "d_type"),
    ("container-storage-is-set-up", {"podman info": '{"store": {"graphDriverName": "overlay", "graphRoot": "/tmp/x"}}'}, "keeps its images in '/tmp/x'"),
    ("container-storage-is-set-up", {"findmnt -n -o SOURCE -T /var/lib/containers/storage": "tmpfs\n"}, "lies on tmpfs"),
    ("container-service-starts", {"systemctl start docker.service": None}, "docker.service does not start"),
    ("container-service-starts", {"systemctl show podman.socket": "ActiveState=failed\n"}, "podman.socket is failed"),
    ("container-service-starts", {"sh -c command -v": None}, "neither docker nor podman"),
    ("containers-run", {"docker run": None}, "ended with 1"),
    ("containers-run", {"podman run": "goodbye\n"}, "said 'goodbye'"),
    ("containers-run", {"podman load": None}, "podman load"),
    (AWAY, {"sh -c grep": "/var/roothome/.ssh/authorized_keys\n"}, "opens an image that is no Vagrant box"),
    (AWAY, {"sh -c grep": None, "getent passwd vagrant": "vagrant:x:1000:1000::/home/vagrant:/bin/bash\n"}, "has the user vagrant"),
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != AWAY])
def test_passes_on_a_healthy_host(name: str) -> None:
    CRITERIA[name](host(), EXPECTED)


@pytest.mark.parametrize("name", CRITERIA)
def test_passes_or_is_not_applicable_on_a_healthy_box(name: str) -> None:
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
        (AWAY, {"cat /home/vagrant/.ssh/authorized_keys": vagrant_key.PUBLIC + "\nssh-rsa AAAA mine\n"}, "holds something else"),
        (AWAY, {"stat": "755 vagrant\n644 vagrant\n", "stat -c %a %U": "755 vagrant\n644 vagrant\n"}, "modes and owners"),
        (AWAY, {"id -un": "vagrant\n"}, "cannot become root"),
    ],
)
def test_fails_on_a_broken_box(name: str, broken: dict[str, str | None], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        CRITERIA[name](broken_host(HEALTHY_BOX | broken), BOX)


@pytest.mark.parametrize(("name", "broken", "reason"), BROKEN, ids=[f"{name}-{reason}" for name, _, reason in BROKEN])
def test_fails_on_a_broken_host(name: str, broken: dict[str, str | None], reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(AssertionError, match=reason.replace("(", r"\(")):
        CRITERIA[name](broken_host(broken), EXPECTED)


def test_every_criterion_has_a_test_that_it_fails() -> None:
    assert {name for name, _, _ in BROKEN} == set(CRITERIA)
    files = {file.stem for file in Path(boots.__file__).parent.glob("test_*.py")}
    assert len(files) == len(CRITERIA), "a new criterion file needs rows in this test"


def test_storage_that_cannot_be_checked_is_not_tested() -> None:
    with pytest.raises(NotTestedError, match="btrfs"):
        storage.test_container_storage_is_set_up(host(), replace(EXPECTED, storage="btrfs"))


@pytest.mark.parametrize("profile", STORAGE)
def test_each_storage_profile_passes_where_it_is_set_up(profile: str) -> None:
    storage.test_container_storage_is_set_up(broken_host(dict(STORAGE[profile])), replace(EXPECTED, storage=profile))


@pytest.mark.parametrize(("profile", "broken", "reason"), BROKEN_STORAGE, ids=[f"{name}-{reason}" for name, _, reason in BROKEN_STORAGE])
def test_each_storage_profile_fails_where_it_is_not(profile: str, broken: dict[str, str | None], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        storage.test_container_storage_is_set_up(broken_host(dict(STORAGE[profile]) | broken), replace(EXPECTED, storage=profile))


def test_an_artifact_that_does_not_boot_fails() -> None:
    boots.test_artifact_boots(Boot(host=host(), expected=EXPECTED, problem="", phases={}))
    with pytest.raises(AssertionError, match="panicked"):
        boots.test_artifact_boots(Boot(host=None, expected=EXPECTED, problem="the kernel panicked", phases={}))


def test_an_rpm_ostree_host_with_layered_packages_is_compared_by_its_base() -> None:
    layered = {
        "booted": True,
        "checksum": "ee",
        "base-checksum": EXPECTED.commit,
        "version": "26.1",
        "origin": "fedora-atomic:fedora/26/x86_64/atomic-host",
    }
    status = json.dumps({"deployments": [{"booted": False, "checksum": "ff"}, layered]})
    fedora = Host(transport=FakeTransport({"rpm-ostree status --json": status}), commands=RpmOstreeHost(), slowness=0.0)
    assert fedora.booted().commit == EXPECTED.commit
    assert fedora.booted().origin == "fedora-atomic:fedora/26/x86_64/atomic-host"
