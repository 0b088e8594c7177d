"""Steps of a disk: its kickstart, its plan, its installation, its downloads."""

from imagebuild.config.places import template
from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine.steps import Cost, Step, step
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.plan import Plan
from imagebuild.model import Disk, Image, Inspection, Kickstart, Toolbox, Tree
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.model import Config
from imagebuild.stages.convert import convert_disk
from imagebuild.stages.disk import derive_disk, install_disk
from imagebuild.stages.inspect import inspect_image
from imagebuild.stages.kickstart import digest, write_kickstart
from imagebuild.stages.plan import plan_disk
from imagebuild.wiring.builder import MIB, Builder, disk_cost, secure_boot_tools, versions


def kickstart_step(config: Config, name: str, tree: Step[Tree]) -> Step[Kickstart]:
    """Wire one of a release line's kickstarts."""
    template = config.kickstarts[name]
    return step(f"kickstart {name}", write_kickstart, tree, template, config.tree, digest(template))


def plan_step(
    name: str,
    config: Config,
    builder: Builder,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    kickstarts: dict[str, Step[Kickstart]],
) -> Step[Plan]:
    """Wire what an image's kickstart makes of its disk: how large it is, for which firmware."""
    image = config.images[name]
    spec = DiskSpec(
        size=image.disk_size,
        firmware=image.firmware,
        populate=builder.populate,
        epoch=builder.epoch,
        sector_size=image.sector_size,
    )
    # a %pre section is run the first way that works here
    return step(
        f"plan {name}", plan_disk, tree, toolbox, kickstarts[image.kickstart], spec, cost=disk_cost(builder)
    )


def disk_step(
    name: str,
    config: Config,
    builder: Builder,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    plans: dict[str, Step[Plan]],
    disks: dict[str, Step[Disk]],
) -> Step[Disk]:
    """Wire an installed disk, or one that is changed from another."""
    base, ways = config.images[name].base, builder.populate
    tools, cost = versions("sfdisk", "mcopy", "qemu-img") | secure_boot_tools(config.arch), disk_cost(builder)
    if base is None:
        return step(f"disk {name}", install_disk, tree, toolbox, plans[name], ways, tools=tools, cost=cost)
    return step(
        f"disk {name}",
        derive_disk,
        tree,
        toolbox,
        disks[base],
        plans[base],
        plans[name],
        ways,
        tools=tools,
        cost=cost,
    )


def inspection_step(
    image: ImageConfig,
    builder: Builder,
    tree: Step[Tree],
    previous: Step[tuple[Tree, ...]],
    toolbox: Step[Toolbox],
    plan: Step[Plan],
    download: Step[Image],
) -> Step[Inspection]:
    """Wire the look into a finished download."""
    return step(
        f"inspect {download.name}",
        inspect_image,
        tree,
        previous,
        toolbox,
        plan,
        download,
        builder.populate,
        image.login,
        tools=secure_boot_tools(builder.accelerator.arch),
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
