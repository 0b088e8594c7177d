"""Ratios measured in one run (`make bench`): the disk stage against a plain script, a second build against the first, memory.

CPU seconds of this process and everything it started; on a busy machine the ratios hold better than the seconds.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from imagebuild import config, steplog
from imagebuild.composers import mmdebstrap
from imagebuild.config import Config, MmdebstrapConfig, cache_directory
from imagebuild.model import Firmware, Toolbox, Tree
from imagebuild.stages.convert import convert_qcow2
from imagebuild.stages.disk import DiskSpec, choose_way, install_disk
from imagebuild.stages.kickstart import write_kickstart
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import pin, pull_tree
from imagebuild.tools import command, loop

ROOT = Path(__file__).parent.parent
LIMITS = {"disk stage / plain script": 3.0, "second build / first build": 0.03, "peak memory, MiB": 300.0}


def cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(name: str, work: Callable[[], object]) -> float:
    """Run something and print what it cost."""
    subprocess.run(["sync"], check=True)
    before, begun = cpu(), time.monotonic()
    work()
    seconds = cpu() - before
    print(f"  {name}: {seconds:.1f} CPU s, {time.monotonic() - begun:.1f} s")
    return seconds


def plain_script(toolbox: Path, work: Path) -> None:
    """cp -a of the tree's checkout onto a fresh file system, and qemu-img convert: the floor of a disk stage."""
    source, target, image = work / "source", work / "target", work / "plain.raw"
    for place in (source, target):
        place.mkdir()
    with image.open("wb") as stream:
        stream.truncate(3000 << 20)
    with loop.attached(toolbox, read_only=True) as device, loop.attached(image) as disk:
        command.run(["mount", "-t", "squashfs", "-o", "ro", device, source])
        command.run(["mkfs.xfs", "-q", disk])
        command.run(["mount", disk, target])
        checkout = [entry for entry in source.iterdir() if entry.name != "imagebuild"]
        command.run(["cp", "-a", *checkout, target])
        command.run(["umount", target])
        command.run(["umount", source])
    command.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, work / "plain.qcow2"])


def stages(settings: Config, work: Path) -> dict[str, float]:
    """Run the stages up to the qcow2 and compare the disk stage with the plain script."""
    store = work / "store"
    out = {name: work / name for name in ("tree", "toolbox", "kickstart", "disk", "qcow2", "plain")}
    for place in out.values():
        place.mkdir()
    pinned = pin(settings.tree, settings.the_ref())
    trees: list[Tree] = []
    boxes: list[Toolbox] = []
    measured("pull", lambda: trees.append(pull_tree(out["tree"], pinned, settings.tree, store / "repo")))
    measured("toolbox", lambda: boxes.append(make_toolbox(out["toolbox"], trees[0])))
    kickstart = write_kickstart(out["kickstart"], trees[0], settings.kickstarts["cloud"], settings.tree, "")
    image = settings.images["cloud"]
    way = choose_way(None)[0]
    plain = measured("plain script: cp -a onto fresh xfs, qemu-img convert", lambda: plain_script(boxes[0].image, out["plain"]))
    spec = DiskSpec(size=image.disk_size, firmware=tuple(Firmware), populate=way)
    disks = []
    disk = measured(f"disk stage, {way}", lambda: disks.append(install_disk(out["disk"], trees[0], boxes[0], kickstart, spec)))
    assert image.formats.qcow2 is not None
    options = image.formats.qcow2
    measured("qcow2, compressed", lambda: convert_qcow2(out["qcow2"], trees[0], disks[0], "bench", options))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"disk stage / plain script": disk / plain, "peak memory, MiB": peak}


def second_build() -> float | None:
    """Compare a second `imagebuild all` of the demo with what the first took; None when there was no first."""
    store = ROOT / "build" / "demo" / "store"
    builds = sorted((store / "builds").glob("*.json")) if store.is_dir() else []
    if not builds:
        return None
    used = json.loads(builds[-1].read_text())
    records = [store / "artifacts" / kind / key / "artifact.json" for kind, key in used.values()]
    if not all(record.exists() for record in records):
        return None
    first: float = sum(json.loads(record.read_text())["seconds"] for record in records)
    argv: list[str | Path] = [Path(sys.executable).parent / "imagebuild", "all", "--ref", "debian/12/x86_64/atomic-host", "--store", store]
    begun = time.monotonic()
    subprocess.run([*argv, "--output", store.parent / "release"], check=True, capture_output=True)
    return (time.monotonic() - begun) / first


def main() -> int:
    """Print the ratios; the exit status says whether all limits hold."""
    work = Path(tempfile.mkdtemp(prefix="imagebuild-bench-", dir=ROOT / "build" if (ROOT / "build").is_dir() else None))
    try:
        settings = config.load(ROOT / "configs" / "debian-12.yaml", work / "store")
        assert isinstance(settings.compose, MmdebstrapConfig)
        with steplog.writing_to(work / "log"):
            (work / "store").mkdir()
            mmdebstrap.compose(work / "store" / "compose", settings.the_ref(), settings.compose, settings.tree, cache_directory())
            found = stages(settings, work)
    finally:
        shutil.rmtree(work)
    again = second_build()
    if again is None:
        print("second build / first build: not measured (run `make demo` first)")
    else:
        found["second build / first build"] = again
    for name, value in found.items():
        print(f"{name}: {value:.3g} (limit {LIMITS[name]:g}){'' if value <= LIMITS[name] else '  TOO MUCH'}")
    return 0 if all(value <= LIMITS[name] for name, value in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
