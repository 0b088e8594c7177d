"""Each storage profile, for real: set up at first boot from the image's own configuration, and held against
its criterion.

One of these guests has /var, /home and /tmp on file systems of their own besides: booting is what is dear.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from imagebuild.model import Tree
from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from imagebuild.smoke.criteria.test_container_storage import (
    test_container_storage_is_set_up as storage_is_set_up,
)
from imagebuild.smoke.host.words import Host
from imagebuild.tools import oci, ssh
from tests.vm.wiring import Lab

SAY = "hello from a container"
# a link of the tree leads /home and /root into /var, and /tmp into the physical root
VOLUMES = """logvol /var --size=384 --fstype=ext4 --name=var --vgname=atomicos
logvol /tmp --size=64 --fstype=ext4 --name=tmp --vgname=atomicos
user --name=ada
sshkey --username=ada "{key}"
%post --erroronfail
set -e
echo kept > /var/lib/kept
echo roots > /root/kept
echo hers > /home/ada/kept
%end
"""


def run_container(host: Host) -> str:
    host.succeeds("docker", "load", stdin=oci.busybox_archive(), seconds=60)
    return host.succeeds("docker", "run", "--rm", "--network=none", oci.NAME, "echo", SAY, seconds=90).strip()


@pytest.mark.slow  # CI has an hour: on its profile the whole way runs containers
@pytest.mark.parametrize(
    ("profile", "root"),
    [
        # on the disk that is the same bytes each time: this is also the test that it boots
        ("devicemapper", "ext4"),
        ("overlay2-volume", "xfs"),
        ("overlay2-root", "xfs"),
    ],
)
def test_a_profile_is_set_up_at_first_boot(lab: Lab, tmp_path: Path, profile: str, root: str) -> None:
    text = lab.text(f"debian-12-{profile}.ks").replace("--fstype=xfs", f"--fstype={root}")
    key, public = ssh.make_key(tmp_path)
    if profile == "devicemapper":
        text = text.replace("part pv.01", "part /home --size=64 --fstype=ext4\npart pv.01") + VOLUMES.format(
            key=public
        )
    disk = lab.disk(profile, text)
    outcome = lab.must(disk)
    tree: Tree = outcome.value(lab.pipeline.tree)
    assert (outcome.value(disk).populated == "offline") == (root == "ext4")
    with lab.booted(tree, outcome.value(disk).file, tmp_path / profile, storage=profile) as boot:
        assert boot.host is not None, boot.problem
        boot.host.wait_for_cloud_init()
        assert "Finished" in boot.host.succeeds(
            "journalctl", "-b", "-o", "cat", "--unit", "docker-storage-setup.service"
        )
        boots_the_released_commit(boot.host, boot.expected)
        storage_is_set_up(boot.host, boot.expected)
        other = "overlay2-volume" if profile == "devicemapper" else "devicemapper"
        promise = boot.expected.promise
        promise = replace(promise, terms=replace(promise.terms, storage=other))
        expected = replace(boot.expected, promise=promise)
        with pytest.raises(AssertionError, match="the volume group has no"):
            storage_is_set_up(boot.host, expected)
        # the one driver that no smoke test of the demo's downloads runs containers on
        if profile == "devicemapper":
            assert run_container(boot.host) == SAY
            _nothing_vanished_under_a_mount(boot.host, key)
        if profile == "overlay2-root":
            _another_driver(boot.host)
            with pytest.raises(AssertionError, match="docker's storage driver is 'vfs', not 'overlay2'"):
                storage_is_set_up(boot.host, boot.expected)


def _nothing_vanished_under_a_mount(host: Host, key: Path) -> None:
    """What the kickstart made below /var is there on its own file systems, and the account's key opens it."""
    mounts = dict(
        line.split()
        for line in host.succeeds(
            "findmnt", "--raw", "--noheadings", "--output", "TARGET,SOURCE"
        ).splitlines()
    )
    assert mounts["/var"] == "/dev/mapper/atomicos-var"
    assert mounts["/sysroot/tmp"] == "/dev/mapper/atomicos-tmp"
    assert mounts["/var/home"].startswith("/dev/vda")
    assert host.succeeds("cat", "/var/lib/kept", "/root/kept").split() == ["kept", "roots"]
    modes = host.succeeds(
        "stat", "--format=%a %U", "/var", "/var/home", "/var/home/ada", "/var/roothome", "/tmp/.", "/var/tmp"
    )
    assert modes.splitlines() == ["755 root", "755 root", "755 ada", "700 root", "1777 root", "1777 root"]
    host.succeeds("sh", "-c", "umask 077; cat > /run/ada.key", stdin=key.read_bytes())
    flags = [
        word
        for each in ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        for word in ("-o", each)
    ]
    said = host.succeeds(
        "ssh", *flags, "-i", "/run/ada.key", "ada@127.0.0.1", "id -un; cat kept; touch more", seconds=60
    )
    assert said.split() == ["ada", "hers"]


def _another_driver(host: Host) -> None:
    """Have docker use another driver than the one that was set up."""
    host.succeeds(
        "sh",
        "-c",
        'mkdir -p /etc/docker; echo \'{"storage-driver": "vfs"}\' > /etc/docker/daemon.json; rm'
        " /etc/sysconfig/docker-storage",
    )
    host.succeeds("systemctl", "restart", "docker.service", seconds=60)


@pytest.mark.slow
def test_a_disk_that_is_too_small_for_its_pool_says_so(lab: Lab, tmp_path: Path) -> None:
    disk = lab.disk("small", lab.text("debian-12-devicemapper.ks"), size=4608)
    outcome = lab.must(disk)
    tree: Tree = outcome.value(lab.pipeline.tree)
    with lab.booted(tree, outcome.value(disk).file, tmp_path / "small", storage="devicemapper") as boot:
        assert boot.host is not None, boot.problem
        boot.host.wait_for_cloud_init()
        with pytest.raises(AssertionError, match=r"has failed .*bytes free, less than MIN_DATA_SIZE"):
            storage_is_set_up(boot.host, boot.expected)
