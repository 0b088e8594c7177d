"""Steps of a disk: its kickstart, its installation, its downloads."""

from imagebuild.config.places import template
from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine.steps import Cost, Step, step
from imagebuild.formats.registry import FORMATS
from imagebuild.model import Disk, Image, Inspection, Kickstart, Toolbox, Tree
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.model import Config
from imagebuild.stages.convert import convert_disk
from imagebuild.stages.disk import derive_disk, install_disk
from imagebuild.stages.inspect import inspect_image
from imagebuild.stages.kickstart import digest, write_kickstart
from imagebuild.wiring.builder import MIB, Builder, disk_cost, versions


def kickstart_step(config: Config, name: str, tree: Step[Tree]) -> Step[Kickstart]:
    """Wire one of a release line's kickstarts."""
    template = config.kickstarts[name]
    return step(f"kickstart {name}", write_kickstart, tree, template, config.tree, digest(template))


def _disk_spec(image: ImageConfig, builder: Builder) -> DiskSpec:
    """Return how large a disk is, for which firmware, made in which way."""
    return DiskSpec(
        size=image.disk_size, firmware=image.firmware, populate=builder.populate, epoch=builder.epoch
    )


def disk_step(
    name: str,
    config: Config,
    builder: Builder,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    kickstarts: dict[str, Step[Kickstart]],
    disks: dict[str, Step[Disk]],
) -> Step[Disk]:
    """Wire an installed disk, or one that is changed from another."""
    image = config.images[name]
    spec, tools, cost = (
        _disk_spec(image, builder),
        versions("sfdisk", "mcopy", "qemu-img"),
        disk_cost(builder),
    )
    if image.base is None:
        return step(
            f"disk {name}",
            install_disk,
            tree,
            toolbox,
            kickstarts[image.kickstart],
            spec,
            tools=tools,
            cost=cost,
        )
    base, before = image.base, kickstarts[config.images[image.base].kickstart]
    return step(
        f"disk {name}",
        derive_disk,
        tree,
        toolbox,
        disks[base],
        before,
        kickstarts[image.kickstart],
        spec,
        tools=tools,
        cost=cost,
    )


def inspection_step(
    image: ImageConfig,
    builder: Builder,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    kickstart: Step[Kickstart],
    download: Step[Image],
) -> Step[Inspection]:
    """Wire the look into a finished download."""
    return step(
        f"inspect {download.name}",
        inspect_image,
        tree,
        toolbox,
        kickstart,
        download,
        _disk_spec(image, builder),
        image.login,
        cost=disk_cost(builder),
    )


def download_steps(
    name: str, image: ImageConfig, builder: Builder, tree: Step[Tree], disk: Step[Disk]
) -> list[Step[Image]]:
    """Wire the downloads of a disk."""
    return [
        step(
            f"{kind} {name}",
            convert_disk,
            tree,
            disk,
            kind,
            image.name,
            options,
            builder.epoch,
            tools=versions(*FORMATS[kind].tools),
            reads=map(template, FORMATS[kind].reads),
            cost=Cost(cores=FORMATS[kind].cores, memory=1024 * MIB, background=True),
        )
        for kind, options in image.formats.items()
    ]
