"""The ways to populate a disk give the same system: compared file by file, with modes, owners and extended attributes."""

import contextlib
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from imagebuild import graph
from imagebuild.config import Config
from imagebuild.deploy.plan import PE_START, Plan, plan_of
from imagebuild.model import Disk, Firmware
from imagebuild.pipeline import Pipeline
from imagebuild.progress import View
from imagebuild.stages.disk import DiskSpec, choose_way, install_disk
from imagebuild.stages.kickstart import digest, write_kickstart
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.steps import step
from imagebuild.store import Store
from imagebuild.tools import command, loop
from tests.vm.conftest import BUDGET

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the native way and looking into the disks need root")


def test_native_and_appliance_give_the_same_system(settings: Config, pipeline: Pipeline, store: Path, tmp_path: Path) -> None:
    disks, plan = install_both(settings, pipeline, store)
    found = {way: describe(disk, plan, tmp_path / way) for way, disk in disks.items()}
    native, appliance = found["native"], found["appliance"]
    assert len(native) > 25_000
    different = sorted(path for path in native.keys() | appliance.keys() if native.get(path) != appliance.get(path))
    assert not different, "\n".join(f"{path}: native {native.get(path)}, appliance {appliance.get(path)}" for path in different[:20])
    raw = {way: _boot_areas(disk, plan) for way, disk in disks.items()}
    assert raw["native"] == raw["appliance"], "partition table, boot loader or ESP differ"


def install_both(settings: Config, pipeline: Pipeline, store: Path) -> tuple[dict[str, Disk], Plan]:
    """Install the demo's cloud disk both ways."""
    image, template = settings.images["cloud"], settings.kickstarts["cloud"]
    toolbox = step("toolbox", make_toolbox, pipeline.tree, tools={"mksquashfs": command.version("mksquashfs")})
    kickstart = step("kickstart cloud", write_kickstart, pipeline.tree, template, settings.tree, digest(template))
    tools = {program: command.version(program) for program in ("sfdisk", "mcopy")}
    goals = {
        way: step(
            f"disk {way}",
            install_disk,
            pipeline.tree,
            toolbox,
            kickstart,
            DiskSpec(size=image.disk_size, firmware=image.firmware, populate=choose_way(way)[0]),
            tools=tools,
        )
        for way in ("native", "appliance")
    }
    with ThreadPoolExecutor(1) as executor:
        outcome = graph.build([*goals.values(), kickstart], Store(store), executor, budget=BUDGET, listener=View(Console()))
    assert not outcome.failed, [f"{error.message}\n{error.log}" for error in outcome.failed.values()]
    tree, written = outcome.value(pipeline.tree), outcome.value(kickstart)
    plan = plan_of(written.file, written.syntax, disk_size=image.disk_size << 20, firmware=frozenset(Firmware), seed=tree.commit)
    return {way: outcome.value(goal) for way, goal in goals.items()}, plan


def describe(disk: Disk, plan: Plan, work: Path) -> dict[str, tuple[object, ...]]:
    """Return path -> (type and mode, owners, size, content or target, extended attributes) of root and /boot."""
    physical, boot = plan.partition("lvm"), next(each for each in plan.partitions if each.mount == "/boot")
    assert physical is not None
    root = plan.volumes[0]
    found: dict[str, tuple[object, ...]] = {}
    for name, start, size, options in (
        ("/", physical.start + PE_START, root.size, "ro,norecovery"),
        ("/boot", boot.start, boot.size, "ro,noload"),
    ):
        with mounted(disk.file, start, size, options, work / (name.strip("/") or "root")) as place:
            for path in sorted(place.rglob("*")):
                found[f"{name}:{path.relative_to(place)}"] = _entry(path)
    return found


@contextlib.contextmanager
def mounted(disk: Path, start: int, size: int, options: str, place: Path) -> Iterator[Path]:
    """Mount a part of a disk read-only."""
    place.mkdir(parents=True)
    with loop.attached(disk, offset=start, size=size, read_only=True) as device:
        subprocess.run(["mount", "-o", options, device, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)


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
    return oct(info.st_mode), info.st_uid, info.st_gid, size, info.st_nlink if not stat.S_ISDIR(info.st_mode) else 0, content, xattrs


def _boot_areas(disk: Disk, plan: Plan) -> str:
    """Return a digest of everything before /boot: table, boot loader and ESP."""
    boot = next(each for each in plan.partitions if each.mount == "/boot")
    with disk.file.open("rb") as stream:
        return hashlib.sha256(stream.read(boot.start)).hexdigest()
