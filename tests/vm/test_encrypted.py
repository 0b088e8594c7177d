"""Encrypted storage and btrfs, installed from the ISO and booted: opened by a TPM, by a passphrase."""

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import choose_ways
from imagebuild.kinds import Controller, Firmware
from imagebuild.model import IsoImage
from imagebuild.smoke.criteria.test_boots import test_boots_the_released_commit as boots_the_released_commit
from imagebuild.smoke.installation import InstallerBench, follow, powered_on
from imagebuild.tools import accelerator, command, iso, ssh
from imagebuild.tools.qemu.machine import MIB, Drive, Kernel, Machine
from imagebuild.tools.qemu.running import Running, started
from imagebuild.wiring.builder import Builder
from tests.vm import variant
from tests.vm.wiring import Lab

pytestmark = pytest.mark.slow  # a tree of its own, two installations and five boots
SECRET = "a Pass phrase: 42"
ASKS = "Please enter passphrase for disk"
ON_BTRFS = """part btrfs.01 --grow --encrypted --passphrase="{secret}" --pbkdf=pbkdf2 --pbkdf-iterations=10000
btrfs none --label=host btrfs.01
btrfs / --subvol --name=root LABEL=host
btrfs /var --subvol --name=var LABEL=host
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    store = tmp_path_factory.mktemp("variant")
    probed = accelerator.probe(cache_directory())
    return variant.lab(store, Builder(repo=store / "repo", populate=choose_ways(None)[0], accelerator=probed))


@pytest.fixture(scope="module")
def image(lab: Lab) -> IsoImage:
    (made,) = lab.pipeline.isos
    found: IsoImage = lab.must(made).value(made)
    return found


def kickstart(lab: Lab, public: str, storage: str, append: str = "") -> str:
    text = lab.text("debian-12-installer.ks").replace("\nreboot\n", "\npoweroff\n")
    first, last = text.index("part pv.01"), text.index("\n", text.index("logvol /")) + 1
    text = text[:first] + storage + text[last:]
    # nobody waits for a data source
    text = re.sub(r"services --enabled=.*", "services --enabled=ssh --disabled=cloud-init", text)
    return (
        text.replace(' net.ifnames=0"', f' net.ifnames=0 {append}"') + f'sshkey --username=root "{public}"\n'
    )


def installed(lab: Lab, image: IsoImage, work: Path, text: str, tpm: Path | None) -> Path:
    """Install with a kickstart on a disk of its own; return the disk. Nothing of the passphrase is shown."""
    found = iso.extract(image.file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], work)
    oem = work / "oem.img"
    (work / "ks.cfg").write_text(text)
    with oem.open("wb") as stream:
        stream.truncate(4 << 20)
    command.run(["mkfs.vfat", "-n", "OEMDRV", oem])
    command.run(["mcopy", "-i", oem, work / "ks.cfg", "::/ks.cfg"])
    bench = InstallerBench(
        iso=image.file,
        firmware=Firmware.BIOS,
        accelerator=lab.host.accelerator,
        cores=lab.host.accelerator.cores,
        drives=(Drive(file=oem),),
        kernel=Kernel(
            file=found["/images/pxeboot/vmlinuz"],
            initrd=found["/images/pxeboot/initrd.img"],
            arguments=f"console=ttyS0,115200n8 quiet inst.stage2=hd:LABEL={image.volume_id}",
        ),
        tpm=tpm,
    )
    disk = work / "disk.qcow2"
    with powered_on(bench, disk, work / "serial.log") as running:
        assert "complete" in follow(running, bench, work)
        assert SECRET not in running.console()
    return disk


@contextlib.contextmanager
def switched_on(
    lab: Lab, disk: Path, work: Path, name: str, tpm: Path | None
) -> Iterator[tuple[Running, int]]:
    port = ssh.free_port()
    machine = Machine(
        disk=disk,
        controller=Controller.VIRTIO,
        firmware=Firmware.BIOS,
        cores=lab.host.accelerator.cores,
        memory=2048 * MIB,
        forward={port: 22},
        typed=True,
        tpm=tpm,
    )
    with started(machine, lab.host.accelerator, work / f"{name}.log") as running:
        yield running, port


def wait(lab: Lab, running: Running, port: int, *, prompt: bool) -> bool:
    """Wait until ssh answers (True), or somebody is asked for a passphrase (`prompt`: that is waited for)."""
    deadline = time.monotonic() + 100 * lab.host.accelerator.slowness
    while time.monotonic() < deadline and running.alive:
        if ASKS in running.console():
            return False
        if not prompt and ssh.greets(port):
            return True
        time.sleep(2)
    raise AssertionError(running.console()[-2000:])


def succeeds(shell: ssh.Shell, *argv: str) -> str:
    answer = shell.run(argv, timeout=600)
    assert answer.status == 0, f"{argv}: {answer.output} {answer.complaint}"
    return answer.output


def test_the_tpm_opens_it_from_the_second_boot_on(lab: Lab, image: IsoImage, tmp_path: Path) -> None:
    key, public = ssh.make_key(tmp_path)
    tpm = tmp_path / "tpm"
    storage = (
        "part pv.01 --grow --encrypted --pbkdf=pbkdf2 --pbkdf-iterations=10000\nvolgroup atomicos pv.01\n"
    )
    storage += "logvol / --size=3000 --fstype=xfs --name=root --vgname=atomicos\n"
    append = "rd.luks.options=tpm2-device=auto"
    disk = installed(lab, image, tmp_path, kickstart(lab, public, storage, append), tpm)
    with switched_on(lab, disk, tmp_path, "first", tpm) as (running, port):
        assert wait(lab, running, port, prompt=False), "the empty passphrase opens it once"
        shell = ssh.Shell(user="root", port=port, key=key)
        state = succeeds(
            shell, "sh", "-c",
            "for n in $(seq 120); do systemctl is-enabled --quiet luks-enroll-tpm.service || break; sleep 2;"
            " done; systemctl show -P Result luks-enroll-tpm.service; systemctl is-enabled"
            " luks-enroll-tpm.service; cryptsetup luksDump /dev/vda4; cat /proc/cmdline; lsblk -o NAME,TYPE",
        )  # fmt: skip
        assert state.startswith("success\ndisabled\n"), state
        assert "systemd-tpm2" in state, state
        assert len(re.findall(r"^  \d+: luks2$", state, re.MULTILINE)) == 1, "the empty passphrase is there"
        assert "rd.luks.uuid=luks-" in state, state
        opened = shell.run(
            ["sh", "-c", "echo | cryptsetup open --disable-external-tokens --test-passphrase /dev/vda4"],
            timeout=600,
        )
        assert opened.status != 0, "the empty passphrase opens it still"
        succeeds(shell, "sync")
    with switched_on(lab, disk, tmp_path, "second", tpm) as (running, port):
        assert wait(lab, running, port, prompt=False), "the TPM does not open it"
    with switched_on(lab, disk, tmp_path, "elsewhere", tmp_path / "another tpm") as (running, port):
        assert not wait(lab, running, port, prompt=True), "another machine's TPM opens it"


def test_a_passphrase_opens_btrfs_with_subvolumes(lab: Lab, image: IsoImage, tmp_path: Path) -> None:
    key, public = ssh.make_key(tmp_path)
    text = kickstart(lab, public, ON_BTRFS.format(secret=SECRET))
    disk = installed(lab, image, tmp_path, text, None)
    with switched_on(lab, disk, tmp_path, "first", None) as (running, port):
        assert not wait(lab, running, port, prompt=True)
        running.type(SECRET + "\r")
        deadline = time.monotonic() + 100 * lab.host.accelerator.slowness
        while not ssh.greets(port) and time.monotonic() < deadline:
            time.sleep(2)
        shell = ssh.Shell(user="root", port=port, key=key)
        mounts = succeeds(
            shell, "findmnt", "--raw", "--noheadings", "--output", "TARGET,FSTYPE,FSROOT", "--types", "btrfs"
        )
        lines = {line.split()[0]: line.split()[1:] for line in mounts.splitlines()}
        assert lines["/sysroot"] == ["btrfs", "/root"], mounts
        assert lines["/var"] == ["btrfs", "/var"], mounts
        assert "rootflags=subvol=root" in succeeds(shell, "cat", "/proc/cmdline")
        kept = succeeds(shell, "sh", "-c", f"grep -rlF '{SECRET}' /var/log /etc /boot/loader/entries || :")
        assert kept == "", f"the passphrase is kept in {kept}"
        assert "(taken-out)" in succeeds(shell, "cat", "/var/log/imagebuild/ks.cfg")


def test_a_disk_on_btrfs_is_made_in_the_appliance_and_boots(lab: Lab, tmp_path: Path) -> None:
    text = lab.text()
    first, last = text.index("part pv.01"), text.index("\n", text.index("logvol /")) + 1
    storage = (
        "part btrfs.01 --grow\nbtrfs none --label=host btrfs.01\nbtrfs / --subvol --name=root LABEL=host\n"
        "btrfs /var --subvol --name=var LABEL=host\n"
    )
    disk = lab.disk("btrfs", text[:first] + storage + text[last:], size=4096)
    outcome = lab.must(disk)
    made, tree = outcome.value(disk), outcome.value(lab.pipeline.tree)
    assert made.populated == "appliance"
    with lab.booted(tree, made.file, tmp_path / "btrfs") as boot:
        assert boot.host is not None, boot.problem
        boots_the_released_commit(boot.host, boot.expected)
        mounts = boot.host.succeeds(
            "findmnt", "--raw", "--noheadings", "--output", "TARGET,FSROOT", "--types", "btrfs"
        )
        places = dict(line.split() for line in mounts.splitlines())
        assert (places["/sysroot"], places["/var"]) == ("/root", "/var")
