"""The ways to populate a disk give the same system: compared inode by inode, with modes, owners and extended
attributes.
"""

import hashlib
import os
import stat
import subprocess
from pathlib import Path

import pytest

from imagebuild.deploy import explained, lvm, unused_space
from imagebuild.deploy.compare import compare
from imagebuild.deploy.execute import deployment_of
from imagebuild.deploy.ways import WAYS
from imagebuild.kickstart import plan
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.model import Disk, Tree
from imagebuild.tools.ostree.repository import Repo
from tests.vm.mounting import mounted
from tests.vm.wiring import Lab

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="the native way and looking into the disks need root"
)
FS_IMMUTABLE = "i"
VOLUMES = """logvol /var/tmp --size=32 --fstype=ext4 --name=tmp --vgname=atomicos
logvol /var --size=256 --fstype=ext4 --name=var --vgname=atomicos
logvol /home/ada --size=32 --fstype=ext4 --name=ada --vgname=atomicos
user --name=ada
sshkey --username=ada "ssh-ed25519 AAAA ada"
%post --erroronfail
echo kept > /var/lib/kept
%end
"""


def ext4(lab: Lab) -> str:
    """The demo's kickstart on ext4, which every way can make, with file systems of their own in /var; the
    tree links /home there.
    """
    text = lab.text()
    assert "--fstype=xfs" in text
    text = text.replace("--fstype=xfs", "--fstype=ext4").replace(
        "part pv.01", "part /home --size=64 --fstype=ext4\npart pv.01"
    )
    return text + VOLUMES


def test_the_three_ways_give_the_same_system(lab: Lab, tmp_path: Path) -> None:
    steps = {
        way: lab.disk(f"ext4 {way}", ext4(lab), ways=[way]) for way in ("offline", "native", "appliance")
    }
    outcome = lab.must(*steps.values())
    tree: Tree = outcome.value(lab.pipeline.tree)
    made = plan.read(
        ext4(lab),
        "F28",
        disk_size=6 << 30,
        firmware=frozenset(Firmware),
        seed=tree.commit,
        epoch=tree.timestamp,
    )
    disks: dict[str, Disk] = {way: outcome.value(one) for way, one in steps.items()}
    assert {way: disk.populated for way, disk in disks.items()} == {way: way for way in disks}
    # Debian's shim and GRUB are on each, and lead to the kernel
    assert {way: disk.secure_boot.reason for way, disk in disks.items()} == dict.fromkeys(disks)
    assert all(Firmware.UEFI_SECURE in disk.firmware for disk in disks.values())
    found = {way: describe(disk, made, tmp_path / way) for way, disk in disks.items()}
    reference = found["native"]
    assert len(reference) > 25_000
    assert {"/var:lib/kept", "/home/ada:.ssh/authorized_keys", "/home/ada:.profile"} <= reference.keys()
    assert {path: reference[path][:2] for path in ("/var:.", "/home:.", "/home/ada:.", "/var/tmp:.")} == {
        "/var:.": ("0o40755", 0),
        "/home:.": ("0o40755", 0),
        "/home/ada:.": ("0o40755", 1000),
        "/var/tmp:.": ("0o41777", 0),
    }
    for way in ("offline", "appliance"):
        other = found[way]
        different = sorted(
            path for path in reference.keys() | other.keys() if reference.get(path) != other.get(path)
        )
        assert not different, "\n".join(
            f"{path}: native {reference.get(path)}, {way} {other.get(path)}" for path in different[:20]
        )
    assert {way: unexplained(lab, tree, disk, made) for way, disk in disks.items()} == {
        way: [] for way in disks
    }
    raw = {way: _boot_areas(disk, made) for way, disk in disks.items()}
    assert len(set(raw.values())) == 1, "partition table, boot loader, ESP or LVM header differ"


def test_two_offline_builds_are_the_same_bytes(lab: Lab) -> None:
    # that such a disk boots is tested with the profile devicemapper (test_storage)
    one, other = (lab.disk(f"ext4 {number}", ext4(lab), ways=["offline"], copy=number) for number in (1, 2))
    outcome = lab.must(one, other)
    disks: list[Disk] = [outcome.value(one), outcome.value(other)]
    assert disks[0].file != disks[1].file
    assert subprocess.run(["cmp", disks[0].file, disks[1].file], check=False).returncode == 0
    assert compare(disks[0].file, disks[1].file) == []


def test_two_native_xfs_builds_differ_in_the_root_volume_only(lab: Lab) -> None:
    one, other = (lab.disk(f"xfs {number}", lab.text(), ways=["native"], copy=number) for number in (1, 2))
    outcome = lab.must(one, other)
    found = compare(outcome.value(one).file, outcome.value(other).file)
    # times and generations of inodes, and where the kernel puts them: in /boot and / only (README,
    # "Reproducible")
    assert {each.area for each in found} <= {
        "partition 3 (boot), ext4",
        "partition 4 (pv.01), volume root, xfs",
    }, found
    assert any("volume root" in each.area for each in found)


def unexplained(lab: Lab, tree: Tree, disk: Disk, made: Plan) -> list[str]:
    """Return what `inspect` finds on a disk that neither the commit nor the table explains."""
    step = lab.toolbox()
    toolbox = lab.must(step).value(step)
    with WAYS["native"].open(disk.file, toolbox.image, made) as target:
        target.reopen(made, read_only=True)
        deployment = deployment_of(made, tree.commit)
        found = explained.problems(target, deployment, Repo(tree.repo), tree.commit)
        target.finish(made)
    return found + unused_space.problems(disk.file)


def describe(disk: Disk, made: Plan, work: Path) -> dict[str, tuple[object, ...]]:
    """Return path -> (type and mode, owners, size, content or target, extended attributes, immutable) of
    every file system but the ESP.
    """
    found: dict[str, tuple[object, ...]] = {}
    for name, device, fstype in made.file_systems():
        if fstype != "ext4":
            continue
        start, size = lvm.place_of(made, device)
        with mounted(disk.file, start, size, "ro,noload", work / device) as place:
            for path in [place, *sorted(place.rglob("*"))]:
                found[f"{name}:{path.relative_to(place)}"] = _entry(path)
            deployment = next(place.glob("ostree/deploy/*/deploy/*.0"), place)
            flags = subprocess.run(
                ["lsattr", "-d", deployment], capture_output=True, text=True, check=True
            ).stdout.split()[0]
            found[f"{name}:flags"] = (FS_IMMUTABLE in flags,)
    return found


def _entry(path: Path) -> tuple[object, ...]:
    info = path.lstat()
    content = ""
    if stat.S_ISLNK(info.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(info.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    # mke2fs keeps hard links of files, but makes a link of its own of each further name of a symbolic link
    links = info.st_nlink if stat.S_ISREG(info.st_mode) else 0
    return oct(info.st_mode), info.st_uid, info.st_gid, size, links, content, xattrs


def _boot_areas(disk: Disk, made: Plan) -> str:
    """Return a digest of what is outside of file systems: table, boot loader, ESP, LVM header, backup
    table.
    """
    boot = next(each for each in made.partitions if each.mount == "/boot")
    physical = lvm.physical_volume(made)
    with disk.file.open("rb") as stream:
        first = stream.read(boot.start)
        stream.seek(physical.start)
        header = stream.read(1 << 20)
        stream.seek(disk.size - (1 << 20))
        return hashlib.sha256(first + header + stream.read()).hexdigest()
