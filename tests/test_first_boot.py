"""The state before a first boot: read by the same script from a directory, and every way in which it can be wrong."""

from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import first_boot
from imagebuild.deploy.first_boot import CLOUD_UNITS, problems
from imagebuild.errors import BuildError
from imagebuild.kinds import Login
from imagebuild.tools import command
from tests.fakes import FakeSandbox
from tests.test_plan import SMALL, read

COMMIT = "ab" * 32
FINE = {
    "deployments": [f"{COMMIT}.0\n{COMMIT}.0.origin\n"], "machine-id": [""], "host-keys": [""], "random-seed": [""], "cloud-state": [""],
    "resolv-link": ["../run/systemd/resolve/stub-resolv.conf\n"], "entries": ["ostree-1-os.conf\n"],
    "cloud-config": ["users: [default]\n", "datasource_list: [NoCloud, ConfigDrive, OpenStack, Ec2, OVF, None]\n"],
}  # fmt: skip
MASKED = {"unit-links": ["".join(f"{unit} /dev/null\n" for unit in CLOUD_UNITS)]}


@pytest.mark.parametrize("kind", ["qcow2", "raw.xz", "raw.zst", "vmdk"])
def test_a_clean_disk_has_no_problems(kind: str) -> None:
    assert problems(FINE, commit=COMMIT, kind=kind, login=Login.CLOUD_INIT) == []
    assert problems(FINE | MASKED, commit=COMMIT, kind="vagrant-libvirt", login=Login.VAGRANT) == []
    without = {word: texts for word, texts in FINE.items() if word != "cloud-config"}
    assert problems(without, commit=COMMIT, kind=kind, login=Login.CLOUD_INIT) == [], "cloud-init's own list has every datasource"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"deployments": [f"{'cd' * 32}.0\n"]}, "it holds the deployments cdcd"),
        ({"deployments": [f"{COMMIT}.0\n{COMMIT}.1\n"]}, "not just"),
        ({"machine-id": ["0123456789abcdef0123456789abcdef\n"]}, "/etc/machine-id is not empty"),
        ({"host-keys": ["ssh/ssh_host_rsa_key\nssh/ssh_host_rsa_key.pub\n"]}, "ssh host keys, which all copies would share: ssh/ssh_host_rsa_key"),
        ({"random-seed": ["/var/lib/systemd/random-seed\n"]}, "a random seed"),
        ({"cloud-state": ["/var/lib/cloud/instances/iid\n"]}, "state of cloud-init"),
        ({"leases": ["x.lease\n"]}, "leases"),
        ({"journals": ["abc\n"]}, "a journal"),
        ({"histories": [".bash_history\n"]}, "shell history"),
        ({"net-rules": ["udev/rules.d/70-persistent-net.rules\n"]}, "network cards"),
        ({"resolv-conf": ["nameserver 10.0.2.3\n"]}, "name servers"),
        ({"docker-storage": ['DOCKER_STORAGE_OPTIONS="--storage-driver overlay2 "\n']}, "the storage driver is frozen"),
        ({"entries": [""]}, "no boot loader entry"),
        ({"cloud-config": ["datasource_list: [NoCloud, None]\n"]}, "as qcow2 cloud-init must look for ConfigDrive or OpenStack, Ec2, but its list is NoCloud, None"),
        (MASKED, "cloud-init is masked"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong: dict[str, list[str]], said: str) -> None:
    found = problems(FINE | wrong, commit=COMMIT, kind="qcow2", login=Login.CLOUD_INIT)
    assert len(found) == 1, found
    assert said in found[0]


def test_a_vmdk_wants_vmwares_datasource_and_a_box_wants_none() -> None:
    lacking = FINE | {"cloud-config": ["datasource_list: [NoCloud, ConfigDrive, Ec2]\n"]}
    assert "OVF or VMware" in problems(lacking, commit=COMMIT, kind="vmdk", login=Login.CLOUD_INIT)[0]
    half = {"unit-links": [f"{CLOUD_UNITS[0]} /dev/null\n"]}
    assert "must mask cloud-init.service" in problems(FINE | half, commit=COMMIT, kind="vagrant-libvirt", login=Login.VAGRANT)[0]
    assert problems({**FINE, "machine-id": ["uninitialized\n"]}, commit=COMMIT, kind="qcow2", login=Login.CLOUD_INIT) == []
    missing = {word: texts for word, texts in FINE.items() if word != "machine-id"}
    assert "/etc/machine-id is missing" in problems(missing, commit=COMMIT, kind="qcow2", login=Login.CLOUD_INIT)


def test_facts_are_read_from_the_files_themselves(tmp_path: Path) -> None:
    deployment, var, boot = tmp_path / "deploy" / f"{COMMIT}.0", tmp_path / "var", tmp_path / "boot"
    for place in (
        deployment / "etc/ssh",
        deployment / "etc/cloud/cloud.cfg.d",
        deployment / "etc/systemd/system",
        var / "lib/systemd",
        boot / "loader/entries",
    ):
        place.mkdir(parents=True)
    (deployment / "etc/machine-id").touch()
    (deployment / "etc/ssh/ssh_host_ed25519_key").touch()
    (deployment / "etc/resolv.conf").symlink_to("/etc/passwd")
    (deployment / "etc/cloud/cloud.cfg.d/a.cfg").write_text("datasource_list: [NoCloud]\n")
    (deployment / "etc/systemd/system/cloud-init.service").symlink_to("/dev/null")
    (var / "lib/systemd/random-seed").touch()
    said = command.run(["sh", "-c", first_boot.SCRIPT, "sh", deployment, var, boot])

    class Sandbox(FakeSandbox):
        def run(self, *commands: object, env: object = None) -> str:
            return said

    facts = first_boot.read_facts(read(SMALL), Sandbox(), PurePosixPath("/d"))
    assert facts["machine-id"] == [""]
    assert facts["host-keys"] == ["ssh/ssh_host_ed25519_key\n"]
    assert facts["resolv-link"] == ["/etc/passwd\n"], "a link of the image is told, not followed"
    assert facts["unit-links"] == ["cloud-init.service /dev/null\n"]
    assert facts["random-seed"] == [f"{var}/lib/systemd/random-seed\n"]
    assert first_boot.datasources(facts) == ["NoCloud"]
    said = "words\t%%%\n"
    with pytest.raises(BuildError, match="cannot be looked into"):
        first_boot.read_facts(read(SMALL), Sandbox(), PurePosixPath("/d"))
