"""LVM metadata that we write is what LVM reads: held against the real programs, and the same each time."""

import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.deploy import lvm
from imagebuild.deploy.disk_map import read_map
from imagebuild.errors import BuildError
from imagebuild.tools import loop
from tests.deploy.disks import made
from tests.kickstart.samples import GIB, MIB, SMALL, read

TWO = SMALL.replace("ostreesetup", "logvol /var --size=500 --fstype=ext4 --name=var --vgname=vg\nostreesetup")


def ask(device: Path, *argv: str) -> str:
    settings = (
        f'devices {{ filter=["a|^{device}$|","r|.*|"] use_devicesfile=0 }} backup {{ backup=0 archive=0 }}'
    )
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LVM_SYSTEM_DIR": "", "LC_ALL": "C.UTF-8"}
    finished = subprocess.run(
        [argv[0], "--driverloaded=n", f"--config={settings}", *argv[1:]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="LVM wants a block device: a loop device needs root")
def test_the_real_programs_read_what_was_written(tmp_path: Path) -> None:
    plan = read(TWO)
    file = made(tmp_path, plan)
    physical = lvm.physical_volume(plan)
    with loop.attached(file, offset=physical.start, size=physical.size) as device:
        assert "type=LVM2 001" in ask(device, "pvck", str(device))
        ask(device, "vgck", "vg")
        rows = [
            line.split()
            for line in ask(
                device,
                "lvs",
                "--noheadings",
                "--units=b",
                "--nosuffix",
                "-o",
                "lv_name,lv_size,seg_pe_ranges,lv_uuid",
                "vg",
            ).splitlines()
        ]
        assert [(row[0], int(row[1])) for row in rows] == [("root", 3000 * MIB), ("var", 500 * MIB)]
        assert [row[2].rpartition(":")[2] for row in rows] == ["0-749", "750-874"]
        assert rows[0][3] == lvm.uuid(plan, "lv root")
        size, start = ask(
            device, "pvs", "--noheadings", "--units=b", "--nosuffix", "-o", "pv_size,pe_start"
        ).split()
        assert (int(size), int(start)) == ((physical.size - MIB) // (4 * MIB) * 4 * MIB, MIB)
        # and writes it: what a first boot does to make room for containers
        ask(
            device,
            "lvcreate",
            "--activate=n",
            "--zero=n",
            "--wipesignatures=n",
            "--yes",
            "--size=100m",
            "--name=more",
            "vg",
        )
    assert "partition 2, volume more" in [area.name for area in read_map(file)], (
        "what LVM itself writes is read back"
    )


def test_the_same_plan_gives_the_same_bytes_and_another_commit_other_ids(tmp_path: Path) -> None:
    plan = read(TWO)
    physical = lvm.physical_volume(plan)
    heads = []
    for name in ("one", "two"):
        with made(tmp_path, plan, name).open("rb") as disk:
            disk.seek(physical.start)
            heads.append(disk.read(MIB))
    assert heads[0] == heads[1]
    assert b'creation_host = "localhost"' in heads[0]


def test_where_everything_lies_is_read_from_the_disk(tmp_path: Path) -> None:
    plan = read(TWO)
    areas = read_map(made(tmp_path, plan))
    assert [area.name for area in areas] == [
        "the partition table and boot code",
        "partition 1",
        "partition 2, LVM header",
        "partition 2, volume root",
        "partition 2, volume var",
        "partition 2, free extents",
    ]
    assert sum(area.size for area in areas) == plan.disk_size
    assert (areas[3].start, areas[3].size) == lvm.place(plan, "root")


def test_thin_volumes_are_left_to_device_mapper(tmp_path: Path) -> None:
    thin = SMALL.replace(
        "logvol / --size=3000 --fstype=xfs --name=root", "logvol none --size=3000 --name=pool --thinpool"
    )
    plan = read(
        thin.replace(
            "ostreesetup",
            "logvol / --size=2000 --fstype=xfs --name=root --vgname=vg --thin --poolname=pool\nostreesetup",
        )
    )
    with pytest.raises(BuildError, match="only device-mapper"):
        made(tmp_path, plan)
    assert plan.disk_size == 6 * GIB
