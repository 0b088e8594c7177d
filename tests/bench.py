"""Ratios measured in one run (`make bench`): disk stage and disk set against plain scripts, a second build
against the first, memory, space.

CPU seconds of this process and everything it started where work is compared, wall time where running at the
same time is the point; on a busy machine the ratios hold better than the seconds.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console

from imagebuild import files, steplog
from imagebuild.cli.progress import View
from imagebuild.composers import registry as composers
from imagebuild.composers.composer import Job
from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import DiskSpec, choose_ways
from imagebuild.destinations.source import DirectorySource
from imagebuild.engine import graph, planning
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.steps import Cost, Step
from imagebuild.installers.live.options import LiveConfig
from imagebuild.model import Disk, IsoImage, Toolbox, Tree
from imagebuild.pipeline import wire
from imagebuild.publish.findings import Verification
from imagebuild.publish.verify import Trust, verify
from imagebuild.release_line import reading as config
from imagebuild.release_line.model import Config
from imagebuild.stages.disk import install_disk
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.stages.kickstart import write_kickstart
from imagebuild.stages.plan import plan_disk
from imagebuild.stages.tree import pin
from imagebuild.tools import accelerator, command, iso, loop
from imagebuild.wiring.builder import Builder
from tests.data import ROOT
from tests.release_lab import FIRST, Line

LIMITS = {
    "disk stage / plain script": 3.0,
    "disk set / plain script": 0.8,
    "space at the peak / (tree + outputs)": 2.0,
    "second build / first build": 0.03,
    "peak memory, MiB": 300.0,
    "installer ISO / (mksquashfs + xorriso)": 1.3,
    "installer ISO / (tree + kernel + initramfs), size": 1.15,
    "live system to installer / installed host to ssh": 2.0,
    "release - one read of its artifacts, s": 2.0,
    "verify / one read of its files": 2.0,
}


def cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measured(name: str, work: Callable[[], object]) -> tuple[float, float]:
    """Run something and return (CPU seconds, seconds)."""
    subprocess.run(["sync"], check=True)
    before, begun = cpu(), time.monotonic()
    work()
    used, wall = cpu() - before, time.monotonic() - begun
    print(f"  {name}: {used:.1f} CPU s, {wall:.1f} s", flush=True)
    return used, wall


class Space:
    """The most bytes that lay below a directory while the block ran."""

    def __init__(self, place: Path) -> None:
        self.place, self.peak, self._end = place, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(1.0):
            said = subprocess.run(
                ["du", "-s", "--block-size=1", self.place], capture_output=True, text=True, check=False
            ).stdout
            self.peak = max(self.peak, int(said.split()[0]) if said else 0)

    def __enter__(self) -> "Space":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def plain_disk(toolbox: Path, work: Path) -> None:
    """cp -a of the tree's checkout onto a fresh file system, and qemu-img convert: the floor of a disk
    stage.
    """
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


def plain_set(install: Callable[[str], Disk], work: Path) -> None:
    """A script of the same tools: an installation, an overlay of it for the boxes, then each format, one
    after the other.
    """
    threads = str(max(2, os.cpu_count() or 2))
    cloud, box = install("cloud").file, work / "overlay.qcow2"
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", cloud, "-F", "raw", box, "40G"])
    stream = ["-o", "adapter_type=lsilogic,subformat=streamOptimized,compat6"]
    command.run(
        [
            "qemu-img",
            "convert",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "-c",
            "-o",
            "compression_type=zstd",
            cloud,
            work / "a.qcow2",
        ]
    )
    for argv, name in (
        (["xz", "-0", f"-T{threads}", "--stdout"], "a.raw.xz"),
        (["zstd", "-3", "-T0", "-q", "--stdout"], "a.raw.zst"),
    ):
        with (work / name).open("wb") as output:
            command.run([*argv, cloud], stdout=output)
    command.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", *stream, cloud, work / "a.vmdk"])
    command.run(
        [
            "qemu-img",
            "convert",
            "-f",
            "qcow2",
            "-O",
            "qcow2",
            "-c",
            "-o",
            "compression_type=zstd",
            box,
            work / "box.img",
        ]
    )
    command.run(["tar", "-C", work, "-cf", work / "libvirt.box", "box.img"])
    command.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", *stream, box, work / "box.vmdk"])
    command.run(["tar", "-C", work, "-cf", work / "virtualbox.box", "box.vmdk"])
    command.run(
        ["sha256sum", *sorted(file for file in work.glob("*") if file.is_file() and file.suffix != ".log")]
    )


def disk_set(settings: Config, work: Path) -> dict[str, float]:
    """Build every disk and download (no guests) of the demo, and hold it against plain scripts."""
    store, plain = work / "store", work / "plain"
    host = Builder(
        repo=store / "repo", populate=choose_ways(None)[0], accelerator=accelerator.probe(cache_directory())
    )
    pipeline = wire(settings, pin(settings.tree, settings.the_ref()), host)
    toolbox_step = next(one for one in planning.order([pipeline.release]) if one.name == "toolbox")
    outcome = _build([toolbox_step, pipeline.tree], store)
    tree: Tree = outcome.value(pipeline.tree)
    toolbox: Toolbox = outcome.values[toolbox_step]
    ratios: dict[str, float] = {}

    def install(name: str) -> Disk:
        image = settings.images[name]
        out = plain / name
        out.mkdir(parents=True)
        kickstart = write_kickstart(out, tree, settings.kickstarts[name], settings.tree, "")
        spec = DiskSpec(size=image.disk_size, firmware=image.firmware, populate=host.populate)
        plan = plan_disk(out, tree, toolbox, kickstart, spec)
        return install_disk(out, tree, toolbox, plan, host.populate)

    (plain / "floor").mkdir(parents=True)
    floor, _ = measured(
        "plain script: cp -a onto fresh xfs, qemu-img convert",
        lambda: plain_disk(toolbox.image, plain / "floor"),
    )
    used, _ = measured("disk stage", lambda: install("cloud"))
    ratios["disk stage / plain script"] = used / floor
    shutil.rmtree(plain)
    plain.mkdir()
    _, script = measured(
        "plain script: an installation, six formats, hashes, one after the other",
        lambda: plain_set(install, plain),
    )
    shutil.rmtree(plain)
    found: list[graph.Outcome] = []
    with Space(store) as space:
        _, ours = measured(
            "disk set: two disks, six formats, hashes",
            lambda: found.append(_build([*pipeline.disks.values(), *pipeline.images], store)),
        )
        _build([*pipeline.inspections], store)
    ratios["disk set / plain script"] = ours / script
    outputs = sum(found[0].value(image).size for image in pipeline.images)
    print(
        f"  tree {tree.size / 1e6:.0f} MB, outputs {outputs / 1e6:.0f} MB, at the peak"
        f" {space.peak / 1e6:.0f} MB"
    )
    ratios["space at the peak / (tree + outputs)"] = space.peak / (tree.size + outputs)
    ratios["peak memory, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ratios


def _build(goals: Sequence[Step[Any]], store: Path) -> graph.Outcome:
    with ThreadPoolExecutor(4) as executor, Path(os.devnull).open("w") as nowhere:
        outcome = graph.build(
            goals,
            DirectoryStore(store),
            executor,
            budget=Cost(cores=2, memory=16 << 30),
            listener=View(Console(file=nowhere)),
        )
    assert not outcome.failed, [error.message for error in outcome.failed.values()]
    return outcome


def installer_iso(settings: Config, work: Path) -> dict[str, float]:
    """Make the live ISO with the product's default compression, and hold it against the two programs alone on
    the same input.
    """
    assert settings.installer is not None
    config = settings.installer.model_copy(update={"live": LiveConfig()})
    store, out, plain = work / "store", work / "iso", work / "plain-iso"
    host = Builder(
        repo=store / "repo", populate=choose_ways(None)[0], accelerator=accelerator.probe(cache_directory())
    )
    pipeline = wire(settings, pin(settings.tree, settings.the_ref()), host)
    toolbox_step = next(one for one in planning.order([pipeline.release]) if one.name == "toolbox")
    outcome = _build([toolbox_step, pipeline.tree], store)
    tree, toolbox = outcome.value(pipeline.tree), outcome.values[toolbox_step]
    kickstarts = []
    for name in ("interactive", "installer"):
        (out / name).mkdir(parents=True)
        kickstarts.append(write_kickstart(out / name, tree, settings.kickstarts[name], settings.tree, ""))
    spec = InstallerSpec(
        backend="live", product=settings.product, release=settings.release, ways=host.populate
    )
    made: list[IsoImage] = []
    _, ours = measured(
        "installer ISO",
        lambda: made.append(make_iso(out, tree, toolbox, tuple(kickstarts), settings.tree, config, spec)),
    )
    (plain / "tree").mkdir(parents=True)
    with loop.attached(toolbox.image, read_only=True) as device:
        command.run(["mount", "-t", "squashfs", "-o", "ro", device, plain / "tree"])
        try:
            level = config.options(LiveConfig).level
            _, floor = measured("mksquashfs and xorriso alone", lambda: _plain_iso(plain, level))
            command.run(
                [
                    "mksquashfs",
                    plain / "tree" / "usr",
                    plain / "alone.img",
                    "-comp",
                    "zstd",
                    "-Xcompression-level",
                    str(config.options(LiveConfig).level),
                    "-quiet",
                    "-no-progress",
                ]
            )
        finally:
            command.run(["umount", plain / "tree"])
    boot = iso.extract(made[0].file, ["/images/pxeboot/vmlinuz", "/images/pxeboot/initrd.img"], plain)
    alone = (plain / "alone.img").stat().st_size + sum(file.stat().st_size for file in boot.values())
    print(f"  ISO {made[0].size / 1e6:.0f} MB, tree, kernel and initramfs {alone / 1e6:.0f} MB")
    return {
        "installer ISO / (mksquashfs + xorriso)": ours / floor,
        "installer ISO / (tree + kernel + initramfs), size": made[0].size / alone,
    }


def _plain_iso(work: Path, level: int) -> None:
    (work / "images").mkdir()
    command.run(
        [
            "mksquashfs",
            work / "tree",
            work / "images" / "install.img",
            "-comp",
            "zstd",
            "-Xcompression-level",
            str(level),
            "-quiet",
            "-no-progress",
        ]
    )
    command.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-R",
            "-V",
            "PLAIN",
            "-o",
            work / "plain.iso",
            work / "images",
        ]
    )


def releasing(work: Path) -> dict[str, float]:
    """Release downloads of 100 MB each, against nothing but reading them once (as many at a time); then
    verify, against reading every file.
    """
    line = Line(work / "release", work / "keys")
    material = line.material(line.commit("12.1", FIRST), grown=100_000_000)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        _, read = measured(
            "read", lambda: list(pool.map(files.sha256, [each.file for each in material.downloads]))
        )
    _, released = measured("release", lambda: line.release(material))
    (place,) = [file.parent for file in line.output.glob("*/COMPOSE_ID")]
    _, every = measured(
        "read everything", lambda: [files.sha256(file) for file in place.rglob("*") if file.is_file()]
    )
    trust = Trust(keys=(line.key,), commit_keys=(line.key,), open_images=False, cache=work)
    found = Verification()
    _, verified = measured(
        "verify", lambda: found.problems.extend(verify(DirectorySource(place), trust).problems)
    )
    assert not found.problems
    return {
        "release - one read of its artifacts, s": released - read,
        "verify / one read of its files": verified / every,
    }


def live_boot() -> float | None:
    """Compare how long the live system of `make demo` took to its installer with the installed host's way to
    ssh; None when there was none.
    """
    store = ROOT / "build" / "demo" / "store" / "artifacts"
    ratios = []
    for place in sorted(store.glob("smoke.smoke_installation/*/out/evidence")):
        live, host = (
            json.loads((place / name).read_text()) for name in ("installer-phases.json", "phases.json")
        )
        ratios.append(live["installer"] / host["ssh"])
    return max(ratios) if ratios else None


def second_build() -> float | None:
    """Compare a second `imagebuild all` of the demo with what the first took; None when there was no
    first.
    """
    store = ROOT / "build" / "demo" / "store"
    builds = sorted((store / "builds").glob("*.json")) if store.is_dir() else []
    if not builds:
        return None
    used = json.loads(builds[-1].read_text())
    records = [store / "artifacts" / kind / key / "artifact.json" for kind, key in used.values()]
    if not all(record.exists() for record in records):
        return None
    first: float = sum(json.loads(record.read_text())["seconds"] for record in records)
    argv: list[str | Path] = [
        Path(sys.executable).parent / "imagebuild",
        "all",
        "--ref",
        "debian/12/x86_64/atomic-host",
        "--store",
        store,
    ]
    plan = subprocess.run([*argv, "--plan"], check=True, capture_output=True, text=True).stdout
    if any(line.startswith("build ") for line in plan.splitlines()):
        return None  # made by other code: it would be built again, not a second time
    begun = time.monotonic()
    subprocess.run([*argv, "--output", store.parent / "release"], check=True, capture_output=True)
    return (time.monotonic() - begun) / first


def main() -> int:
    """Print the ratios; the exit status says whether all limits hold."""
    work = Path(
        tempfile.mkdtemp(
            prefix="imagebuild-bench-", dir=ROOT / "build" if (ROOT / "build").is_dir() else None
        )
    )
    try:
        # the composed tree is an input, not what is measured: beside the store
        settings = config.load(ROOT / "configs" / "debian-12.yaml", work / "input")
        assert settings.compose is not None
        with steplog.writing_to(work / "bench.log"):
            (work / "input").mkdir()
            job = Job(
                directory=work / "input" / "compose",
                ref=settings.the_ref(),
                tree=settings.tree,
                cache=cache_directory(),
            )
            composers.compose(job, settings.compose)
            found = releasing(work)
            found |= installer_iso(settings, work)
            shutil.rmtree(work / "store")
            found |= disk_set(settings, work)
    finally:
        shutil.rmtree(work)
    again = second_build()
    if again is None:
        print("second build / first build: not measured (run `make demo` with this code first)")
    else:
        found["second build / first build"] = again
    booted = live_boot()
    if booted is None:
        print("live system to installer / installed host to ssh: not measured (run `make demo` first)")
    else:
        found["live system to installer / installed host to ssh"] = booted
    for name, value in found.items():
        print(f"{name}: {value:.3g} (limit {LIMITS[name]:g}){'' if value <= LIMITS[name] else '  TOO MUCH'}")
    return 0 if all(value <= LIMITS[name] for name, value in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
