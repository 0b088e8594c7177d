"""The system that the installer ISO leaves: through the dialogue, after a power cut, over an older one. It is
the one that the same kickstart gives on the builder.
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
from imagebuild.smoke.boot_menu import choose_entry
from imagebuild.smoke.installation import follow, powered_on
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.machine import Drive
from tests.vm.medium import MENU_KEYS, bench, direct, oem_disk, said, seconds, untouched
from tests.vm.mounting import mounted
from tests.vm.wiring import Lab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@example"


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


def install(lab: Lab, image: IsoImage, disk: Path, work: Path) -> Path:
    """Install a disk by a kickstart, and return it as a raw file."""
    text = unattended(lab).replace("\nreboot\n", "\npoweroff\n") + "ignoredisk --only-use=vda\n"
    second = work / "second.qcow2"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", second, "8G"])
    kernel = direct(image, work, f"inst.stage2=hd:LABEL={image.volume_id}")
    drives = (oem_disk(work / "oem", text), Drive(file=second, format="qcow2"))
    machine = bench(lab, image, kernel=kernel, drives=drives)
    with powered_on(machine, disk, work / "serial.log") as running:
        phases = follow(running, machine, work)
    assert "complete" in phases
    assert untouched(second), "the kickstart named the other disk"
    raw = work / "disk.raw"
    disk_image.convert(disk, "qcow2", raw, "raw")
    return raw


@pytest.fixture(scope="module")
def installed(lab: Lab, image: IsoImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty disk, installed by a kickstart; a raw file."""
    work = tmp_path_factory.mktemp("installed")
    return install(lab, image, work / "first.qcow2", work)


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


@pytest.mark.slow
def test_what_a_power_cut_left_is_installed_over(
    lab: Lab, tree: Tree, image: IsoImage, interrupted: Path, installed: Path, tmp_path: Path
) -> None:
    """The disk of an installation that did not end has a volume group of the same name, too."""
    places = [tmp_path / name for name in ("again", "a", "b")]
    for place in places:
        place.mkdir()
    again = install(lab, image, interrupted, places[0])
    planned = planned_by(lab, tree, again.stat().st_size)
    assert described(again, planned, places[1]) == described(installed, planned, places[2])


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
