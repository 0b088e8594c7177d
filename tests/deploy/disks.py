"""Disks made of plans."""

from pathlib import Path

from imagebuild.deploy import lvm
from imagebuild.deploy import partition_table as table
from imagebuild.kickstart.plan import Plan


def made(tmp_path: Path, plan: Plan, name: str = "disk.raw") -> Path:
    file = tmp_path / name
    with file.open("wb") as disk:
        disk.truncate(plan.disk_size)
    table.write_table(file, plan)
    lvm.write_group(file, plan)
    return file
