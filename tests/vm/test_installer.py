"""The installer ISO in guests: boot arguments, odd and hostile machines, and an ISO with a kickstart added.

That it installs unattended and that the installed host passes its criteria is in test_whole_way.py; what it
leaves is in test_installed_system.py.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from imagebuild.kinds import Firmware
from imagebuild.model import IsoImage, Tree
from imagebuild.smoke.boot_menu import choose_entry
from imagebuild.smoke.installation import powered_on
from imagebuild.tools import command, iso, ssh
from imagebuild.tools.qemu.machine import Drive
from tests.vm.medium import MENU_KEYS, bench, direct, oem_disk, said, untouched
from tests.vm.serving import served
from tests.vm.wiring import Lab

GIB = 1 << 30


# --- the image ----------------------------------------------------------------------------------------------


def test_the_iso_is_the_same_each_time(lab: Lab, image: IsoImage) -> None:
    (one,) = lab.pipeline.isos
    second = lab.again(one)
    again: IsoImage = lab.must(second).value(second)
    assert again.sha256 == image.sha256, f"compare {image.file} with {again.file}"


def test_the_tree_is_on_the_medium_once(lab: Lab, image: IsoImage, tree: Tree, tmp_path: Path) -> None:
    """ISO size ≤ 1.15 * (compressed tree + kernel + initramfs), the tree compressed alone, without a
    repository.
    """
    step = lab.toolbox()
    toolbox = lab.must(step).value(step)
    alone = tmp_path / "tree.squashfs"
    command.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "tree", toolbox.image, "usr"])
    command.run(["mksquashfs", tmp_path / "tree", alone, "-comp", "lz4", "-quiet", "-no-progress"])
    command.run(["rm", "-rf", tmp_path / "tree"])
    boot = iso.extract(image.file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], tmp_path)
    parts = alone.stat().st_size + sum(file.stat().st_size for file in boot.values())
    assert image.size <= 1.15 * parts, f"{image.size / parts:.3f}"


# --- boot arguments -----------------------------------------------------------------------------------------


def test_kickstart_over_http_static_address_media_check_and_sshd(
    lab: Lab, image: IsoImage, tmp_path: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "my.ks").write_text(lab.text("debian-12-installer.ks"))
    with served(tmp_path / "www") as url:
        arguments = (
            "rd.live.check inst.sshd inst.text ip=10.0.2.77::10.0.2.2:255.255.255.0:::none"
            f" inst.ks={url}/my.ks"
        )
        # without inst.stage2 the initramfs knows the label; on a stick
        port = ssh.free_port()
        machine = bench(
            lab,
            image,
            kernel=direct(image, tmp_path, arguments),
            medium="usb",
            isolated=False,
            forward={port: 22},
            address="10.0.2.77",
        )
        with powered_on(machine, tmp_path / "disk.qcow2", tmp_path / "serial.log") as running:
            said(running, lab, "imagebuild: the medium is whole")
            said(running, lab, r"imagebuild: ssh is open for root, password \w{12}")
            said(running, lab, f"imagebuild: kickstart: {re.escape(url)}/my.ks")
            assert ssh.greets(port), "nobody answers at the address of ip="
            said(running, lab, "imagebuild: checking commit")
    assert untouched(tmp_path / "disk.qcow2"), "something was written before the commit was checked"


@pytest.mark.slow  # CI has the same check of what comes over HTTP, below
def test_a_damaged_medium_is_refused(lab: Lab, image: IsoImage, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.iso"
    command.run(["cp", "--reflink=auto", image.file, damaged])
    with damaged.open("r+b") as stream:
        stream.seek(image.size // 2)
        byte = stream.read(1)
        stream.seek(image.size // 2)
        stream.write(bytes([byte[0] ^ 1]))
    machine = bench(lab, image, iso=damaged)
    with powered_on(machine, tmp_path / "disk.qcow2", tmp_path / "serial.log") as running:
        choose_entry(running, MENU_KEYS["test"], lab.host.accelerator.slowness)
        console = said(running, lab, "THE MEDIUM IS DAMAGED: its checksum is [0-9a-f]{32}, not [0-9a-f]{32}")
    assert "starting the tree" not in console
    assert untouched(tmp_path / "disk.qcow2")


def test_the_installer_over_http_is_checked(lab: Lab, image: IsoImage, tmp_path: Path) -> None:
    """inst.stage2=http://…: what belongs to this kernel and initramfs is taken, anything else is not."""
    images = tmp_path / "www" / "images"
    iso.extract(image.file, ["/images/install.img", "/images/product.img"], tmp_path / "www")
    with (images / "product.img").open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"changed on the way")
    with served(tmp_path / "www") as url:
        kernel = direct(image, tmp_path, f"inst.stage2={url}")
        machine = bench(lab, image, kernel=kernel, isolated=False, medium="virtio")
        with powered_on(machine, None, tmp_path / "serial.log") as running:
            said(running, lab, "does not belong to this kernel and initramfs", native=120)


# --- machines that are not as they should be ----------------------------------------------------------------


SLOW = pytest.mark.slow  # one of them shows that somebody is told, the rest that it is told what


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("no disk", "INSTALLATION FAILED: there is no disk to install on", marks=SLOW),
        pytest.param(
            "small disk",
            (
                r"INSTALLATION FAILED: .*: volume group atomicos is too small: root 3000 = 3000 MiB, but of"
                r" \d+ MiB \d+ MiB can be used"
            ),
            marks=SLOW,
        ),
        pytest.param(
            "two disks",
            r"INSTALLATION FAILED: there are 2 disks and the kickstart does not say which: vda .*; vdb ",
            marks=SLOW,
        ),
        ("bad kickstart", r"INSTALLATION FAILED: OEMDRV:/ks\.cfg:2: .*nonsense"),
        pytest.param(
            "no network",
            "INSTALLATION FAILED: there is no network to fetch http://10.0.2.2/ks.cfg through",
            marks=SLOW,
        ),
        pytest.param(
            "lost kickstart",
            "INSTALLATION FAILED: the kickstart other.ks that was asked for is not there",
            marks=SLOW,
        ),
    ],
)
def test_an_odd_machine_is_told_in_a_sentence(
    lab: Lab, image: IsoImage, tmp_path: Path, name: str, message: str
) -> None:
    label = f"inst.ks=hd:LABEL={image.volume_id}:/ks.cfg"
    disk: Path | None = tmp_path / "disk.qcow2"
    second = tmp_path / "second.qcow2"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", second, "8G"])
    more: dict[str, dict[str, Any]] = {
        "no disk": {"arguments": label, "medium": "virtio"},
        "small disk": {"arguments": label, "disk_size": 2 * GIB},
        "two disks": {"arguments": label, "drives": (Drive(file=second, format="qcow2"),)},
        "bad kickstart": {"arguments": "", "drives": (oem_disk(tmp_path / "oem", "text\nnonsense --now\n"),)},
        "no network": {"arguments": "inst.ks=http://10.0.2.2/ks.cfg", "network": False},
        "lost kickstart": {"arguments": f"inst.ks=hd:LABEL={image.volume_id}:/other.ks"},
    }
    options = more[name]
    arguments = f"inst.stage2=hd:LABEL={image.volume_id} {options.pop('arguments')}"
    machine = bench(lab, image, kernel=direct(image, tmp_path, arguments), **options)
    disk = None if name == "no disk" else disk
    with powered_on(machine, disk, tmp_path / "serial.log") as running:
        console = said(running, lab, "INSTALLATION FAILED")
        said(running, lab, "Press Enter for a shell")
    assert re.search(message, console.replace("\r", "")), console[-600:]
    assert "installing on" not in console
    assert disk is None or untouched(disk)
    assert untouched(second)


# --- remastered ---------------------------------------------------------------------------------------------


@pytest.mark.slow  # CI has a remastered medium of lorax's kind (test_lorax_medium)
def test_a_remastered_iso_boots_into_its_kickstart_by_itself(
    lab: Lab, image: IsoImage, tmp_path: Path
) -> None:
    """`imagebuild iso add-kickstart`: nobody presses a key; under UEFI, whose menu lies in two places."""
    from imagebuild.installers.unattended import remaster

    kickstart = tmp_path / "my.ks"
    kickstart.write_text(lab.text("debian-12-installer.ks") + "ignoredisk --only-use=sdz\n")
    target = tmp_path / "unattended.iso"
    remaster.add_kickstart(image.file, kickstart, target, syntax="F28")
    machine = bench(lab, image, iso=target, firmware=Firmware.UEFI)
    with powered_on(machine, tmp_path / "disk.qcow2", tmp_path / "serial.log") as running:
        said(
            running,
            lab,
            "INSTALLATION FAILED: the kickstart names the disk sdz, which is not there",
            native=120,
        )
    assert untouched(tmp_path / "disk.qcow2")
