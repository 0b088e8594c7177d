"""THE graph: how one pinned commit becomes tested downloads."""

import difflib
from dataclasses import dataclass

from imagebuild.engine.steps import Step, Unkeyed, gather, step
from imagebuild.errors import UsageError
from imagebuild.formats.registry import FORMATS
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
from imagebuild.model import (
    Delta,
    Disk,
    Image,
    Inspection,
    Installation,
    IsoImage,
    Kickstart,
    Release,
    Toolbox,
    Tree,
    Verdict,
)
from imagebuild.release_line.model import Config
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.waivers import OF_RELEASES
from imagebuild.stages.release import admit
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import NO_RELEASE_BEFORE, Before, Pin, pull_tree
from imagebuild.wiring.builder import AT_ORIGIN, Builder, versions
from imagebuild.wiring.disks import disk_step, download_steps, inspection_step, kickstart_step, plan_step
from imagebuild.wiring.earlier import earlier_steps
from imagebuild.wiring.installer import installer_steps
from imagebuild.wiring.trials import Tests, trial_of_download, trial_of_installation, trials_of_disk


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The wired graph; `release` is its goal, the rest is for the report."""

    tree: Step[Tree]
    previous: tuple[Step[Tree], ...]
    kickstarts: dict[str, Step[Kickstart]]
    disks: dict[str, Step[Disk]]
    images: tuple[Step[Image], ...]
    isos: tuple[Step[IsoImage], ...]
    installations: tuple[Step[Installation], ...]
    inspections: tuple[Step[Inspection], ...]
    verdicts: tuple[Step[Verdict], ...]
    release: Step[Release]
    deltas: tuple[Step[Delta], ...] = ()


def wire(config: Config, pinned: Pin, builder: Builder, before: Before = NO_RELEASE_BEFORE) -> Pipeline:
    """Wire the steps of one release line for one commit; `before` is the release that hosts upgrade from.

    Raises UsageError for a waiver of what is not a criterion.
    """
    _check_waivers(config, before)
    tree = step(
        "pull", pull_tree, pinned, config.tree, Unkeyed(builder.repo), Unkeyed(config.arch), cost=AT_ORIGIN
    )
    earlier = earlier_steps(config, builder, tree, before)
    tests = Tests(
        config=config, builder=builder, tree=tree, before=before,
        previous=gather(earlier.pulled), deltas=gather(earlier.deltas),
    )  # fmt: skip
    toolbox = step("toolbox", make_toolbox, tree, tools=versions("mksquashfs"))
    kickstarts = {name: kickstart_step(config, name, tree) for name in config.kickstarts}
    plans = {name: plan_step(name, config, builder, tree, toolbox, kickstarts) for name in config.images}
    disks = _disk_steps(config, builder, tree, toolbox, plans)
    images: list[Step[Image]] = []
    inspections: list[Step[Inspection]] = []
    # in this order: the installed disks are tested while the downloads are compressed
    references = {name: trials_of_disk(tests, disks[name], name) for name in config.images}
    verdicts = [verdict for trials in references.values() for verdict in trials]
    for name, image in config.images.items():
        for download in download_steps(name, image, builder, tree, disks[name]):
            images.append(download)
            inspections.append(
                inspection_step(image, builder, tree, tests.previous, toolbox, plans[name], download)
            )
            verdicts += [
                trial_of_download(tests, image, download, disks[name], references[name], firmware)
                for firmware in image.firmware
            ]
    isos, installations = installer_steps(config, builder, tree, toolbox, kickstarts)
    verdicts += [trial_of_installation(tests, firmware, one) for firmware, one in installations.items()]
    release = step(
        "release",
        admit,
        tree,
        gather(images),
        gather(isos),
        gather(inspections),
        gather(verdicts),
        _required_firmware(config),
        tuple(older.name for older in before.others),
        cost=AT_ORIGIN,
    )
    return Pipeline(
        tree=tree,
        previous=earlier.pulled,
        kickstarts=kickstarts,
        disks=disks,
        images=tuple(images),
        isos=tuple(isos),
        installations=tuple(installations.values()),
        inspections=tuple(inspections),
        verdicts=tuple(verdicts),
        release=release,
        deltas=earlier.deltas,
    )


def _disk_steps(
    config: Config, builder: Builder, tree: Step[Tree], toolbox: Step[Toolbox], plans: dict[str, Step[Plan]]
) -> dict[str, Step[Disk]]:
    disks: dict[str, Step[Disk]] = {}
    for name in sorted(config.images, key=lambda name: config.images[name].base is not None):
        disks[name] = disk_step(name, config, builder, tree, toolbox, plans, disks)
    return disks


def _required_firmware(config: Config) -> tuple[tuple[Firmware, ...], ...]:
    """Return the firmwares under which each download, and then the ISO, must have been tested."""
    images = tuple(image.firmware for image in config.images.values() for _ in image.formats)
    return images + ((config.installer.firmware,) if config.installer is not None else ())


def _check_waivers(config: Config, before: Before) -> None:
    older = tuple(release.name for release in before.others)
    names = {*criteria.names(), *criteria.required(atomic=True, installer=True, older=older), *OF_RELEASES}
    for number, waiver in enumerate(config.waivers):
        if waiver.criterion not in names:
            near = difflib.get_close_matches(waiver.criterion, names, n=1)
            raise UsageError(
                f"waivers.{number}.criterion: there is no criterion {waiver.criterion}",
                hint=(
                    f"do you mean {near[0]}?"
                    if near
                    else "verdict.json has the names of all; those of releases are " + ", ".join(OF_RELEASES)
                ),
            )


def space_needed(config: Config, tree_size: int, missing: frozenset[str]) -> int:
    """Return the bytes that the missing steps (by name) take at most, from the size of the tree's content."""
    parts = {"pull": 0.6, "toolbox": 1.05}
    for name, image in config.images.items():
        parts |= {f"disk {name}": 0.3 if image.base else 1.3}
        parts |= {f"{kind} {name}": FORMATS[kind].size for kind in image.formats}
    if config.installer is not None:
        parts |= {"installer iso": 0.6} | {
            f"install iso {firmware}": 1.3 for firmware in config.installer.firmware
        }
    # one guest at a time: what it unpacks, and what a first boot writes
    needed = sum(factor for step_name, factor in parts.items() if step_name in missing)
    return int((needed + (1.8 if any(name.startswith("smoke") for name in missing) else 0)) * tree_size)
