"""The disks of a machine, as sysfs shows them."""

from pathlib import Path

import pytest

from imagebuild.deploy import live_system as guard
from imagebuild.deploy.live_system import LiveSystem
from imagebuild.live import disks


def sysfs(place: Path, monkeypatch: pytest.MonkeyPatch, mounts: str = "") -> LiveSystem:
    """Make a /sys with disks: sda (the medium, a stick), sr0, vda (two partitions), vdb (read only), loop0,
    dm-0 (on vdc).
    """
    block, numbers, classes = place / "block", place / "dev/block", place / "class/block"
    for directory in (block, numbers, classes):
        directory.mkdir(parents=True)
    for name, number, size, read_only in (
        *(
            ("sda", "8:0", 600000, 0),
            ("sr0", "11:0", 600000, 0),
            ("vda", "252:0", 16777216, 0),
            ("vdb", "252:16", 100, 1),
        ),
        *(("loop0", "7:0", 5, 0), ("vdc", "252:32", 500, 0), ("vdd", "252:48", 0, 0)),
    ):
        (block / name / "device").mkdir(parents=True)
        (block / name / "holders").mkdir()
        (block / name / "size").write_text(f"{size}\n")
        (block / name / "ro").write_text(f"{read_only}\n")
        (numbers / number).symlink_to(block / name)
        (classes / name).symlink_to(block / name)
    (block / "vda/device/model").write_text("Virtual Disk\n")
    for index, number in ((1, "252:1"), (2, "252:2")):
        part = block / "vda" / f"vda{index}"
        (part / "holders").mkdir(parents=True)
        (part / "partition").write_text(f"{index}\n")
        (numbers / number).symlink_to(part)
        (classes / f"vda{index}").symlink_to(part)
    (block / "vdc/holders/dm-0").mkdir()
    mountinfo = place / "mountinfo"
    mountinfo.write_text("22 1 0:30 / / rw - overlay overlay rw,lowerdir=/a\n" + mounts)
    monkeypatch.setattr(guard, "SYS", place)
    monkeypatch.setattr(disks, "SYS", place)
    monkeypatch.setattr(guard, "MOUNTS", mountinfo)
    monkeypatch.setattr(disks, "content", lambda _: [])
    return LiveSystem(tree=Path("/dev/loop0"), medium=frozenset({"sda"}))
