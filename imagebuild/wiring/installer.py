"""Steps of the installer ISO: made, and installed from under each firmware."""

from typing import cast

from imagebuild.config.places import template
from imagebuild.engine.steps import Cost, Step, Unkeyed, gather, step
from imagebuild.installers.registry import INSTALLERS
from imagebuild.installers.registry import choose as choose_installer
from imagebuild.kinds import Firmware
from imagebuild.model import Installation, IsoImage, Kickstart, Toolbox, Tree
from imagebuild.release_line.model import Config
from imagebuild.stages.install import install_iso
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.wiring.builder import (
    MIB,
    Builder,
    guest_cost,
    needs_of_ways,
    secure_boot_tools,
    tools_of_guests,
    versions,
)


def installer_steps(
    config: Config,
    builder: Builder,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    kickstarts: dict[str, Step[Kickstart]],
) -> tuple[list[Step[IsoImage]], dict[Firmware, Step[Installation]]]:
    """Wire the installer ISO, and an installation from it under each firmware."""
    settings = config.installer
    if settings is None:
        return [], {}
    backend, _ = choose_installer(settings, config.product, config.release)
    installer = INSTALLERS[backend]
    spec = InstallerSpec(
        backend=backend,
        product=config.product,
        release=config.release,
        ways=builder.populate,
        epoch=builder.epoch,
    )
    wanted_kickstarts = gather(
        [kickstarts[name] for name in (settings.defaults, settings.unattended) if name]
    )
    tools = {**versions(*installer.tools), **installer.inputs(settings, config.release, config.arch)}
    tools |= secure_boot_tools(config.arch)
    lorax = ("lorax", "root") if backend == "lorax" else ()
    cost = Cost(cores=2, memory=1024 * MIB, needs=(*lorax, *needs_of_ways(builder)))
    # only a backend that runs the tree's own programs waits for them; a step's type is invariant, and what is
    # read may be none
    needed = cast("Step[Toolbox | None]", toolbox) if installer.toolbox else None
    made = step(
        "installer iso",
        make_iso,
        tree,
        needed,
        wanted_kickstarts,
        config.tree,
        settings,
        spec,
        tools=tools,
        cost=cost,
        reads=map(template, installer.reads),
    )
    tested = {
        firmware: step(
            f"install iso {firmware}",
            install_iso,
            tree,
            made,
            firmware,
            settings.disk_size,
            config.smoke,
            Unkeyed(builder.accelerator),
            tools=tools_of_guests(builder, firmware),
            cost=guest_cost(config, builder),
        )
        for firmware in settings.firmware
    }
    return [made], tested
