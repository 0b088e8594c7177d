"""THE graph: how one pinned commit becomes tested downloads."""

from dataclasses import dataclass
from pathlib import Path

from imagebuild.config import Config, ImageConfig
from imagebuild.model import Disk, Firmware, Image, Release, Tree, Verdict
from imagebuild.stages.convert import convert_qcow2
from imagebuild.stages.disk import DiskSpec, install_disk
from imagebuild.stages.kickstart import digest, write_kickstart
from imagebuild.stages.release import lay_out
from imagebuild.stages.smoke import SmokeSpec, smoke_test
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import Pin, pull_tree
from imagebuild.steps import Cost, Step, Unkeyed, gather, step
from imagebuild.tools import command
from imagebuild.tools.accelerator import QEMU, Accelerator

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Host:
    """What the build host can do: where the pulled commits lie, the way to populate disks, the accelerator of guests."""

    repo: Path
    populate: str
    accelerator: Accelerator


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The wired graph; `release` is its goal, the rest is for the report."""

    tree: Step[Tree]
    images: tuple[Step[Image], ...]
    verdicts: tuple[Step[Verdict], ...]
    release: Step[Release]


def wire(config: Config, pinned: Pin, host: Host) -> Pipeline:
    """Wire the steps of one release line for one commit."""
    tree = step("pull", pull_tree, pinned, config.tree, Unkeyed(host.repo))
    toolbox = step("toolbox", make_toolbox, tree, tools=_versions("mksquashfs"))
    images: list[Step[Image]] = []
    verdicts: list[Step[Verdict]] = []
    for name, image in config.images.items():
        template = config.kickstarts[image.kickstart]
        kickstart = step(f"kickstart {name}", write_kickstart, tree, template, config.tree, digest(template))
        spec = DiskSpec(size=image.disk_size, firmware=image.firmware, populate=host.populate)
        disk = step(f"disk {name}", install_disk, tree, toolbox, kickstart, spec, tools=_versions("sfdisk", "mcopy"), cost=_disk_cost(host))
        for download in _convert(name, image, tree, disk):
            images.append(download)
            verdicts += [_smoke(config, host, tree, download, firmware) for firmware in image.firmware]
    release = step("release", lay_out, tree, gather(images), gather(verdicts))
    return Pipeline(tree=tree, images=tuple(images), verdicts=tuple(verdicts), release=release)


def _convert(name: str, image: ImageConfig, tree: Step[Tree], disk: Step[Disk]) -> list[Step[Image]]:
    found = []
    if image.formats.qcow2 is not None:
        found.append(
            step(
                f"qcow2 {name}", convert_qcow2, tree, disk, image.name, image.formats.qcow2, tools=_versions("qemu-img"), cost=Cost(cores=2)
            )
        )
    return found


def _smoke(config: Config, host: Host, tree: Step[Tree], image: Step[Image], firmware: Firmware) -> Step[Verdict]:
    spec = SmokeSpec(firmware=firmware, storage=config.storage, remote=config.tree.remote)
    # how fast the guest runs does not change what it is found to be; what runs it does
    tools = {"qemu": command.version(QEMU), "accelerator": host.accelerator.name}
    cost = Cost(cores=config.smoke.cores, memory=config.smoke.memory * MIB + 256 * MIB)
    accelerator = Unkeyed(host.accelerator)
    return step(f"smoke {image.name} {firmware}", smoke_test, tree, image, spec, config.smoke, accelerator, tools=tools, cost=cost)


def _disk_cost(host: Host) -> Cost:
    return Cost(cores=2, memory=2048 * MIB) if host.populate == "appliance" else Cost(cores=1)


def _versions(*programs: str) -> dict[str, str]:
    return {program: command.version(program) for program in programs}


def space_needed(config: Config, tree_size: int, missing: frozenset[str]) -> int:
    """Return the bytes that the missing steps (by name) take at most, from the size of the tree's content."""
    parts = {"pull": 0.6, "toolbox": 1.05}
    for name in config.images:
        parts |= {f"disk {name}": 1.3, f"qcow2 {name}": 0.6}
        # an overlay takes what a first boot writes
        parts |= {f"smoke qcow2 {name} {firmware}": 0.5 for firmware in Firmware}
    return int(sum(factor for step_name, factor in parts.items() if step_name in missing) * tree_size)
