"""The installer ISO in guests: boot arguments, odd and hostile machines, the dialogue, a power cut, and the
system that comes out.

That it installs unattended and that the installed host passes its criteria is in test_whole_way.py.
"""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from imagebuild.deploy import lvm
from imagebuild.deploy.disk_map import read_map
from imagebuild.engine.steps import Step
from imagebuild.kickstart import plan
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.model import Disk, IsoImage, Tree
from imagebuild.smoke.boot_menu import choose_entry, wait_for
from imagebuild.smoke.installation import InstallerBench, follow, powered_on
from imagebuild.tools import command, iso, ssh
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.machine import Drive, Kernel
from imagebuild.tools.qemu.running import Running
from tests.vm.mounting import mounted
from tests.vm.serving import served
from tests.vm.wiring import Lab

GIB = 1 << 30
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example"
MENU_KEYS = {"install": "i", "test": "t", "unattended": "u"}


@pytest.fixture(scope="module")
def image(lab: Lab) -> IsoImage:
    """The demo's ISO, as the pipeline makes it."""
    (made,) = lab.pipeline.isos
    outcome = lab.must(made)
    found: IsoImage = outcome.value(made)
    return found


@pytest.fixture(scope="module")
def tree(lab: Lab, image: IsoImage) -> Tree:
    del image
    outcome = lab.must(lab.pipeline.tree)
    found: Tree = outcome.value(lab.pipeline.tree)
    return found


def bench(lab: Lab, image: IsoImage, **more: Any) -> InstallerBench:
    return InstallerBench(
        **{"iso": image.file, "firmware": Firmware.BIOS, "accelerator": lab.host.accelerator, **more}
    )


def seconds(lab: Lab, native: float = 60) -> float:
    return native * lab.host.accelerator.slowness


def said(running: Running, lab: Lab, pattern: str, native: float = 60) -> str:
    """Wait for a line of the installer and return the console."""
    return wait_for(
        running, lambda console: re.search(pattern, console) is not None, seconds(lab, native), repr(pattern)
    )


def oem_disk(place: Path, text: str) -> Drive:
    """A disk labelled OEMDRV with a kickstart on it."""
    place.mkdir(exist_ok=True)
    file, kickstart = place / "oem.img", place / "ks.cfg"
    kickstart.write_text(text)
    with file.open("wb") as stream:
        stream.truncate(4 << 20)
    command.run(["mkfs.vfat", "-n", "OEMDRV", file])
    command.run(["mcopy", "-i", file, kickstart, "::/ks.cfg"])
    return Drive(file=file)


def direct(image: IsoImage, work: Path, arguments: str) -> Kernel:
    """The ISO's own kernel and initramfs, with these arguments."""
    found = iso.extract(image.file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], work)
    return Kernel(
        file=found["/images/pxeboot/vmlinuz"],
        initrd=found["/images/pxeboot/initrd.img"],
        arguments=f"console=ttyS0,115200n8 quiet {arguments}",
    )


def untouched(disk: Path) -> bool:
    """Whether nothing was ever written to a disk."""
    found = disk_image.info(disk, "qcow2")
    return int(found["actual-size"]) < (1 << 20)


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no disk", "INSTALLATION FAILED: there is no disk to install on"),
        (
            "small disk",
            (
                r"INSTALLATION FAILED: .*: volume group atomicos is too small: root 3000 = 3000 MiB, but of"
                r" \d+ MiB \d+ MiB can be used"
            ),
        ),
        (
            "two disks",
            r"INSTALLATION FAILED: there are 2 disks and the kickstart does not say which: vda .*; vdb ",
        ),
        ("bad kickstart", r"INSTALLATION FAILED: OEMDRV:/ks\.cfg:2: .*nonsense"),
        ("no network", "INSTALLATION FAILED: there is no network to fetch http://10.0.2.2/ks.cfg through"),
        ("lost kickstart", "INSTALLATION FAILED: the kickstart other.ks that was asked for is not there"),
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


# --- a person, a power cut, an older system, and what comes out ---------------------------------------------


@pytest.fixture(scope="module")
def interrupted(lab: Lab, image: IsoImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of an installation through the dialogue, which lost its power in the middle."""
    work = tmp_path_factory.mktemp("interrupted")
    disk = work / "disk.qcow2"
    with powered_on(bench(lab, image), disk, work / "serial.log") as running:
        choose_entry(running, MENU_KEYS["install"], lab.host.accelerator.slowness)
        seen = 0
        for prompt, answer in (
            ("Host name (empty", "host.example.org"),
            ("Password of root (empty", "secret word"),
            ("Once more", "secret word"),
            ("SSH public key for root", KEY),
            ("User to be made", "ann"),
            ("Password of ann", "other"),
            ("Once more", "other"),
            ("Erase vda and install (yes/no)", "yes"),
        ):
            console = said(running, lab, f"(?s).{{{seen}}}.*{re.escape(prompt)}")
            seen = len(console)
            running.type(answer + "\r")
        console = said(running, lab, "imagebuild: installing on vda", native=120)
        assert "Everything on vda" in console
        assert "secret word" not in console, "a password was shown"
        time.sleep(seconds(lab, 6))
        assert running.alive
    assert not untouched(disk)
    return disk


def unattended(lab: Lab) -> str:
    """The kickstart of an unattended installation, with a /var of its own."""
    text = lab.text("debian-12-installer.ks")
    return text.replace(
        "\nostreesetup", "\nlogvol /var --size=512 --fstype=ext4 --name=var --vgname=atomicos\nostreesetup", 1
    )


@pytest.fixture(scope="module")
def installed(lab: Lab, image: IsoImage, interrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same disk, with what the power cut left (its volume group among it), installed again by a
    kickstart; a raw file.
    """
    work = tmp_path_factory.mktemp("installed")
    text = unattended(lab).replace("\nreboot\n", "\npoweroff\n") + "ignoredisk --only-use=vda\n"
    second = work / "second.qcow2"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", second, "8G"])
    kernel = direct(image, work, f"inst.stage2=hd:LABEL={image.volume_id}")
    drives = (oem_disk(work / "oem", text), Drive(file=second, format="qcow2"))
    machine = bench(lab, image, kernel=kernel, drives=drives)
    with powered_on(machine, interrupted, work / "serial.log") as running:
        phases = follow(running, machine, work)
    assert "complete" in phases
    assert untouched(second), "the kickstart named the other disk"
    raw = work / "disk.raw"
    disk_image.convert(interrupted, "qcow2", raw, "raw")
    return raw


def described(disk: Path, planned: Plan, work: Path) -> dict[str, Any]:
    """What an installed disk is, without what is its own (ids, times)."""
    start, size = lvm.place(planned, "root")
    layout = [(area.name, area.start, area.size, area.content) for area in read_map(disk)]
    boot = next(each for each in planned.partitions if each.mount == "/boot")
    own = re.compile(
        r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|UUID=[0-9A-F]{4}-[0-9A-F]{4}|boot\.\d/"
    )
    with (
        mounted(disk, start, size, "ro,norecovery,nouuid", work / "root") as root,
        mounted(disk, boot.start, boot.size, "ro,noload", work / "boot") as place,
    ):
        (deployment,) = root.glob("ostree/deploy/*/deploy/*.0")
        (entry,) = (place / "loader/entries").glob("*.conf")
        etc = deployment / "etc"
        return {
            "layout": layout,
            "deployment": deployment.name,
            "origin": deployment.with_name(f"{deployment.name}.origin").read_text(),
            "fstab": own.sub("*", (etc / "fstab").read_text()),
            "arguments": own.sub(
                "*", next(line for line in entry.read_text().splitlines() if line.startswith("options "))
            ),
            "remotes": {file.name: file.read_text() for file in sorted((etc / "ostree/remotes.d").iterdir())},
            "repo": (root / "ostree/repo/config").read_text(),
            "units": sorted(
                path.relative_to(etc).as_posix() for path in (etc / "systemd/system").rglob("*.service")
            ),
            "accounts": [line.split(":")[0] for line in (etc / "passwd").read_text().splitlines()],
            "menu": own.sub("*", (place / "loader/grub.cfg").read_text()),
        }


def logs(disk: Path, planned: Plan, work: Path) -> dict[str, str]:
    start, size = lvm.place(planned, "var")
    with mounted(disk, start, size, "ro,noload", work / "logs") as var:
        assert (var / "roothome/.bashrc").exists(), "what %post writes below /var is not on its file system"
        return {file.name: file.read_text() for file in (var / "log/imagebuild").iterdir()}


def planned_by(lab: Lab, tree: Tree, size: int) -> Plan:
    return plan.read(
        unattended(lab),
        "F28",
        disk_size=size,
        firmware=frozenset(Firmware),
        seed=tree.commit,
        epoch=tree.timestamp,
    )


@pytest.mark.parametrize("way", ["native", pytest.param("appliance", marks=pytest.mark.slow)])
def test_the_same_kickstart_gives_the_same_system(
    lab: Lab, tree: Tree, installed: Path, tmp_path: Path, way: str
) -> None:
    """Executed on the build host and from the ISO: the same layout, mounts, kernel arguments, origin,
    remotes, menu.
    """
    one: Step[Disk] = lab.disk(f"installer {way}", unattended(lab), ways=[way], size=8192)
    disk = lab.must(one).value(one)
    planned = planned_by(lab, tree, disk.size)
    assert installed.stat().st_size == disk.size
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    ours, theirs = (
        described(disk.file, planned, tmp_path / "a"),
        described(installed, planned, tmp_path / "b"),
    )
    assert ours == theirs
    assert "https://ostree.example.org/debian" in str(ours["remotes"])
    assert "file:///ostree/repo" not in str(ours["remotes"])


def test_the_installed_system_has_its_log_and_kickstart(
    lab: Lab, tree: Tree, installed: Path, tmp_path: Path
) -> None:
    found = logs(installed, planned_by(lab, tree, installed.stat().st_size), tmp_path)
    assert "deploying" in found["install.log"]
    assert "ignoredisk --only-use=vda" in found["ks.cfg"]


def test_ids_are_of_each_installation_alone(lab: Lab, tree: Tree, installed: Path) -> None:
    said = subprocess.run(["sfdisk", "--json", installed], capture_output=True, text=True, check=True).stdout
    planned = planned_by(lab, tree, installed.stat().st_size)
    assert planned.uuid("disk").upper() not in said, "the ids of the disk images were used"


# --- remastered ---------------------------------------------------------------------------------------------


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
