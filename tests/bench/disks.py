"""The disk stage and the set of disks and downloads, compared with plain scripts of the same tools."""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.deploy.ways import DiskSpec, choose_ways
from imagebuild.engine import graph, planning
from imagebuild.model import Disk, Toolbox, Tree
from imagebuild.pipeline import wire
from imagebuild.release_line.model import Config
from imagebuild.stages.disk import install_disk
from imagebuild.stages.kickstart import write_kickstart
from imagebuild.stages.plan import plan_disk
from imagebuild.stages.tree import pin
from imagebuild.tools import accelerator, command, loop
from imagebuild.wiring.builder import Builder
from tests.bench.measuring import Space, build_quietly, measured


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
    outcome = build_quietly([toolbox_step, pipeline.tree], store)
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
            lambda: found.append(build_quietly([*pipeline.disks.values(), *pipeline.images], store)),
        )
        build_quietly([*pipeline.inspections], store)
    ratios["disk set / plain script"] = ours / script
    outputs = sum(found[0].value(image).size for image in pipeline.images)
    print(
        f"  tree {tree.size / 1e6:.0f} MB, outputs {outputs / 1e6:.0f} MB, at the peak"
        f" {space.peak / 1e6:.0f} MB"
    )
    ratios["space at the peak / (tree + outputs)"] = space.peak / (tree.size + outputs)
    ratios["peak memory, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ratios
