"""The state before a first boot: read by the same script from a directory, and every way in which it can be
wrong.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import first_boot
from imagebuild.deploy.first_boot import CLOUD_UNITS, problems
from imagebuild.errors import BuildError
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Login
from imagebuild.tools import command
from tests.fake_sandbox import FakeSandbox
from tests.kickstart.samples import SMALL, read

COMMIT = "ab" * 32
FINE = {
    "deployments": [f"{COMMIT}.0\n{COMMIT}.0.origin\n"],
    "machine-id": [""],
    "host-keys": [""],
    "random-seed": [""],
    "cloud-state": [""],
    "resolv-link": ["../run/systemd/resolve/stub-resolv.conf\n"],
    "cloud-units": ["".join(f"{unit}\n" for unit in CLOUD_UNITS)],
    "entries": ["ostree-1-os.conf\n"],
    "boot-room": ["4096 65536\n"],
    "kernels": ["8388608 /b/ostree/o-1/vmlinuz-6.1\n58720256 /b/ostree/o-1/initramfs-6.1.img\n"],
    "cloud-config": [
        "users: [default]\n",
        "datasource_list: [NoCloud, ConfigDrive, OpenStack, Ec2, OVF, None]\n",
    ],
}
BEFORE_24_3 = (
    "cloud-init-local.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
)
SINCE_24_3 = tuple(unit for unit in CLOUD_UNITS if unit != "cloud-init.service")
MASKED = {"unit-links": ["".join(f"{unit} /dev/null\n" for unit in CLOUD_UNITS)]}


@pytest.mark.parametrize("kind", ["qcow2", "raw.xz", "raw.zst", "vmdk"])
def test_a_clean_disk_has_no_problems(kind: str) -> None:
    assert problems(FINE, commit=COMMIT, kind=kind, clouds=FORMATS[kind].clouds, login=Login.CLOUD_INIT) == []
    assert problems(FINE | MASKED, commit=COMMIT, kind="vagrant-libvirt", login=Login.VAGRANT) == []
    without = {word: texts for word, texts in FINE.items() if word != "cloud-config"}
    assert (
        problems(without, commit=COMMIT, kind=kind, clouds=FORMATS[kind].clouds, login=Login.CLOUD_INIT) == []
    ), "cloud-init's own list has every datasource"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"deployments": [f"{'cd' * 32}.0\n"]}, "it holds the deployments cdcd"),
        ({"deployments": [f"{COMMIT}.0\n{COMMIT}.1\n"]}, "not just"),
        ({"machine-id": ["0123456789abcdef0123456789abcdef\n"]}, "/etc/machine-id is not empty"),
        (
            {"host-keys": ["ssh/ssh_host_rsa_key\nssh/ssh_host_rsa_key.pub\n"]},
            "ssh host keys, which all copies would share: ssh/ssh_host_rsa_key",
        ),
        ({"random-seed": ["/var/lib/systemd/random-seed\n"]}, "a random seed"),
        ({"cloud-state": ["/var/lib/cloud/instances/iid\n"]}, "state of cloud-init"),
        ({"leases": ["x.lease\n"]}, "leases"),
        ({"journals": ["abc\n"]}, "a journal"),
        ({"histories": [".bash_history\n"]}, "shell history"),
        ({"net-rules": ["udev/rules.d/70-persistent-net.rules\n"]}, "network cards"),
        ({"resolv-conf": ["nameserver 10.0.2.3\n"]}, "name servers"),
        (
            {"docker-storage": ['DOCKER_STORAGE_OPTIONS="--storage-driver overlay2 "\n']},
            "the storage driver is frozen",
        ),
        ({"entries": [""]}, "no boot loader entry"),
        (
            {"boot-room": ["4096 33023\n"]},
            (
                "/boot has 129 MiB free beside its kernel, and an upgrade holds 3 kernels there at its worst,"
                " each 64 MiB"
            ),
        ),
        (
            {"boot-room": ["4096 16639\n"], "early-prune": ["../usr/lib64/libostree-1.so.1.0.0\n"]},
            "holds 2 kernels there",
        ),
        ({"boot-room": [""]}, "its size is not known"),
        ({"kernels": [""]}, "it holds none"),
        (
            {"cloud-config": ["datasource_list: [NoCloud, None]\n"]},
            "as qcow2 cloud-init must look for ConfigDrive or OpenStack, Ec2, but its list is NoCloud, None",
        ),
        (MASKED, "cloud-init is masked"),
    ],
)
def test_what_is_wrong_is_said(wrong: dict[str, list[str]], said: str) -> None:
    found = problems(
        FINE | wrong, commit=COMMIT, kind="qcow2", clouds=FORMATS["qcow2"].clouds, login=Login.CLOUD_INIT
    )
    assert len(found) == 1, found
    assert said in found[0]


@pytest.mark.parametrize(
    ("blocks", "early", "fine"),
    [(33024, [], True), (33023, [], False), (16640, ["x\n"], True), (16639, ["x\n"], False)],
)
def test_room_for_just_the_kernels_of_an_upgrade_is_enough(blocks: int, early: list[str], fine: bool) -> None:
    """A kernel is 64 MiB here: there must be room for two more, or for one where libostree prunes early; and
    for a margin of 1 MiB.
    """
    facts = FINE | {"boot-room": [f"4096 {blocks}\n"], "early-prune": early}
    assert (
        problems(facts, commit=COMMIT, kind="qcow2", clouds=FORMATS["qcow2"].clouds, login=Login.CLOUD_INIT)
        == []
    ) is fine


def test_a_vmdk_wants_vmwares_datasource_and_a_box_wants_none() -> None:
    lacking = FINE | {"cloud-config": ["datasource_list: [NoCloud, ConfigDrive, Ec2]\n"]}
    assert (
        "OVF or VMware"
        in problems(
            lacking, commit=COMMIT, kind="vmdk", clouds=FORMATS["vmdk"].clouds, login=Login.CLOUD_INIT
        )[0]
    )
    half = {"unit-links": [f"{CLOUD_UNITS[0]} /dev/null\n"]}
    assert (
        "must mask cloud-init-local.service, cloud-init.service"
        in problems(FINE | half, commit=COMMIT, kind="vagrant-libvirt", login=Login.VAGRANT)[0]
    )
    assert (
        problems(
            {**FINE, "machine-id": ["uninitialized\n"]},
            commit=COMMIT,
            kind="qcow2",
            clouds=FORMATS["qcow2"].clouds,
            login=Login.CLOUD_INIT,
        )
        == []
    )
    missing = {word: texts for word, texts in FINE.items() if word != "machine-id"}
    assert "/etc/machine-id is missing" in problems(
        missing, commit=COMMIT, kind="qcow2", clouds=FORMATS["qcow2"].clouds, login=Login.CLOUD_INIT
    )


@pytest.mark.parametrize(
    ("units", "masked", "awake"),
    [
        (BEFORE_24_3, BEFORE_24_3, ()),
        # what was right before is not enough since
        (SINCE_24_3, BEFORE_24_3, ("cloud-init-main.service", "cloud-init-network.service")),
        (SINCE_24_3, SINCE_24_3, ()),
    ],
)
def test_a_box_masks_the_units_that_its_cloud_init_has(
    units: Sequence[str], masked: Sequence[str], awake: Sequence[str]
) -> None:
    facts = FINE | {
        "cloud-units": ["".join(f"{unit}\n" for unit in units)],
        "unit-links": ["".join(f"{unit} /dev/null\n" for unit in masked)],
    }
    found = problems(facts, commit=COMMIT, kind="vagrant-libvirt", login=Login.VAGRANT)
    assert found == ([f"a Vagrant box without a cloud must mask {', '.join(awake)}"] if awake else [])


def test_facts_are_read_from_the_files_themselves(tmp_path: Path) -> None:
    deployment, var, boot = tmp_path / "deploy" / f"{COMMIT}.0", tmp_path / "var", tmp_path / "boot"
    for place in (
        deployment / "etc/ssh",
        deployment / "etc/cloud/cloud.cfg.d",
        deployment / "etc/systemd/system",
        var / "lib/systemd",
        boot / "loader/entries",
        boot / "ostree/os-1",
        deployment / "usr/lib64",
        deployment / "usr/lib/x86_64-linux-gnu",
    ):
        place.mkdir(parents=True)
    (deployment / "etc/machine-id").touch()
    (deployment / "etc/ssh/ssh_host_ed25519_key").touch()
    (deployment / "etc/resolv.conf").symlink_to("/etc/passwd")
    (deployment / "etc/cloud/cloud.cfg.d/a.cfg").write_text("datasource_list: [NoCloud]\n")
    (deployment / "etc/systemd/system/cloud-init.service").symlink_to("/dev/null")
    (deployment / "usr/lib/systemd/system").mkdir(parents=True)
    (deployment / "usr/lib/systemd/system/cloud-init-main.service").touch()
    (var / "lib/systemd/random-seed").touch()
    (boot / "ostree/os-1/vmlinuz-6.1").write_bytes(b"x" * 5000)
    (deployment / "usr/lib64/libostree-1.so.1.0.0").write_bytes(b"\0no-early-prune\0")
    (deployment / "usr/lib/x86_64-linux-gnu/libostree-1.so.1.0.0").write_bytes(b"\0an older one\0")
    said = command.run(["sh", "-c", first_boot.SCRIPT, "sh", deployment, var, boot])

    class Sandbox(FakeSandbox):
        def run(self, *commands: object, env: object = None) -> str:
            return said

    facts = first_boot.read_facts(read(SMALL), Sandbox(), PurePosixPath("/d"))
    assert facts["machine-id"] == [""]
    assert facts["host-keys"] == ["ssh/ssh_host_ed25519_key\n"]
    assert facts["resolv-link"] == ["/etc/passwd\n"], "a link of the image is told, not followed"
    assert facts["unit-links"] == ["cloud-init.service /dev/null\n"]
    assert facts["cloud-units"] == ["cloud-init-main.service\n"]
    assert facts["random-seed"] == [f"{var}/lib/systemd/random-seed\n"]
    assert first_boot.datasources(facts) == ["NoCloud"]
    assert facts["kernels"] == [f"5000 {boot}/ostree/os-1/vmlinuz-6.1\n"]
    assert facts["early-prune"] == ["../usr/lib64/libostree-1.so.1.0.0\n"]
    block, free = map(int, facts["boot-room"][0].split())
    there = os.statvfs(boot)
    assert block == there.f_frsize
    assert free * block == pytest.approx(there.f_bfree * there.f_frsize, rel=0.05)
    said = "words\t%%%\n"
    with pytest.raises(BuildError, match="cannot be looked into"):
        first_boot.read_facts(read(SMALL), Sandbox(), PurePosixPath("/d"))
