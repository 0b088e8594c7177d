"""THE graph: how one pinned commit becomes tested downloads."""

import difflib
import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import cast

from imagebuild.config.places import template
from imagebuild.deploy.ways import DiskSpec
from imagebuild.engine.steps import Cost, Step, Unkeyed, gather, gather_available, step
from imagebuild.errors import UsageError
from imagebuild.formats.registry import FORMATS
from imagebuild.installers.registry import INSTALLERS
from imagebuild.installers.registry import choose as choose_installer
from imagebuild.kinds import Firmware, Login
from imagebuild.model import (
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
    Waiver,
)
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.model import Config
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.trial import Bench, Run, Scope, Terms, bench_facts, guest_tools
from imagebuild.smoke.waivers import GROWTH
from imagebuild.stages.convert import convert_disk
from imagebuild.stages.disk import derive_disk, install_disk
from imagebuild.stages.inspect import inspect_image
from imagebuild.stages.install import install_iso
from imagebuild.stages.installer import InstallerSpec, make_iso
from imagebuild.stages.kickstart import digest, write_kickstart
from imagebuild.stages.release import admit
from imagebuild.stages.smoke import smoke_disk, smoke_installation, smoke_test
from imagebuild.stages.toolbox import make_toolbox
from imagebuild.stages.tree import NO_RELEASE_BEFORE, Before, Pin, pull_commit, pull_tree
from imagebuild.tools import command
from imagebuild.tools.accelerator import EMULATED, Accelerator

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Host:
    """What the build host can do: where the pulled commits lie, the ways to populate disks, the accelerator
    of guests; and the time.

    `cells` is where finished cells of verdicts are kept; `today` decides which waivers still count.
    """

    repo: Path
    populate: tuple[str, ...]
    accelerator: Accelerator
    epoch: int | None = None
    cells: Path | None = None
    today: date = field(default_factory=date.today)


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


@dataclass(frozen=True, kw_only=True)
class _Tests:
    """What all smoke tests have in common."""

    config: Config
    host: Host
    tree: Step[Tree]
    previous: Step[tuple[Tree, ...]]
    before: Before


def wire(config: Config, pinned: Pin, host: Host, before: Before = NO_RELEASE_BEFORE) -> Pipeline:
    """Wire the steps of one release line for one commit; `before` is the release that hosts upgrade from.

    Raises UsageError for a waiver of what is not a criterion.
    """
    _check_waivers(config)
    tree = step("pull", pull_tree, pinned, config.tree, Unkeyed(host.repo))
    # its ref stays where the candidate's step puts it
    older = before.pin
    pulled = (
        [step("pull previous", pull_commit, older, config.tree, Unkeyed(host.repo), before.between)]
        if older is not None
        else []
    )
    tests = _Tests(config=config, host=host, tree=tree, previous=gather(pulled), before=before)
    toolbox = step("toolbox", make_toolbox, tree, tools=_versions("mksquashfs"))
    kickstarts = {name: _kickstart(config, name, tree) for name in config.kickstarts}
    disks: dict[str, Step[Disk]] = {}
    for name in sorted(config.images, key=lambda name: config.images[name].base is not None):
        disks[name] = _disk(name, config, host, tree, toolbox, kickstarts, disks)
    images: list[Step[Image]] = []
    inspections: list[Step[Inspection]] = []
    # in this order: the installed disks are tested while the downloads are compressed
    references = {name: _smoke_disks(tests, disks[name], name) for name in config.images}
    verdicts = [verdict for of_one in references.values() for verdict in of_one]
    for name, image in config.images.items():
        for download in _downloads(name, image, host, tree, disks[name]):
            images.append(download)
            inspections.append(
                step(
                    f"inspect {download.name}",
                    inspect_image,
                    tree,
                    toolbox,
                    kickstarts[image.kickstart],
                    download,
                    _disk_spec(image, host),
                    image.login,
                    cost=_disk_cost(host),
                )
            )
            verdicts += [
                _smoke(tests, image, download, disks[name], references[name], firmware)
                for firmware in image.firmware
            ]
    isos, installations = _installer(config, host, tree, toolbox, kickstarts)
    verdicts += [_smoke_installation(tests, firmware, one) for firmware, one in installations.items()]
    required = tuple(image.firmware for image in config.images.values() for _ in image.formats)
    required += (config.installer.firmware,) if config.installer is not None else ()
    release = step(
        "release", admit, tree, gather(images), gather(isos), gather(inspections), gather(verdicts), required
    )
    return Pipeline(
        tree=tree,
        previous=tuple(pulled),
        kickstarts=kickstarts,
        disks=disks,
        images=tuple(images),
        isos=tuple(isos),
        installations=tuple(installations.values()),
        inspections=tuple(inspections),
        verdicts=tuple(verdicts),
        release=release,
    )


def _check_waivers(config: Config) -> None:
    names = {*criteria.required(atomic=True, installer=True), *GROWTH}
    for number, waiver in enumerate(config.waivers):
        if waiver.criterion not in names:
            near = difflib.get_close_matches(waiver.criterion, names, n=1)
            raise UsageError(
                f"waivers.{number}.criterion: there is no criterion {waiver.criterion}",
                hint=(
                    f"do you mean {near[0]}?"
                    if near
                    else "verdict.json has the names of all; those of releases are " + ", ".join(GROWTH)
                ),
            )


def _installer(
    config: Config,
    host: Host,
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
        backend=backend, product=config.product, release=config.release, ways=host.populate, epoch=host.epoch
    )
    wanted_kickstarts = gather(
        [kickstarts[name] for name in (settings.defaults, settings.unattended) if name]
    )
    tools = {**_versions(*installer.tools), **installer.inputs(settings, config.release, config.arch)}
    cost = Cost(cores=2, memory=1024 * MIB)
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
            Unkeyed(host.accelerator),
            tools=_guest_tools(host, firmware),
            cost=_guest_cost(config, host),
        )
        for firmware in settings.firmware
    }
    return [made], tested


def _smoke_installation(tests: _Tests, firmware: Firmware, one: Step[Installation]) -> Step[Verdict]:
    return step(
        f"smoke iso {firmware}",
        smoke_installation,
        tests.tree,
        one,
        tests.previous,
        _terms(tests, Login.CLOUD_INIT),
        _run(tests, firmware),
        tools=_bench_tools(tests, firmware),
        cost=_guest_cost(tests.config, tests.host),
    )


def _kickstart(config: Config, name: str, tree: Step[Tree]) -> Step[Kickstart]:
    template = config.kickstarts[name]
    return step(f"kickstart {name}", write_kickstart, tree, template, config.tree, digest(template))


def _disk_spec(image: ImageConfig, host: Host) -> DiskSpec:
    return DiskSpec(size=image.disk_size, firmware=image.firmware, populate=host.populate, epoch=host.epoch)


def _disk(
    name: str,
    config: Config,
    host: Host,
    tree: Step[Tree],
    toolbox: Step[Toolbox],
    kickstarts: dict[str, Step[Kickstart]],
    disks: dict[str, Step[Disk]],
) -> Step[Disk]:
    image = config.images[name]
    spec, tools, cost = _disk_spec(image, host), _versions("sfdisk", "mcopy", "qemu-img"), _disk_cost(host)
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


def _downloads(
    name: str, image: ImageConfig, host: Host, tree: Step[Tree], disk: Step[Disk]
) -> list[Step[Image]]:
    return [
        step(
            f"{kind} {name}",
            convert_disk,
            tree,
            disk,
            kind,
            image.name,
            options,
            host.epoch,
            tools=_versions(*FORMATS[kind].tools),
            reads=map(template, FORMATS[kind].reads),
            cost=Cost(cores=FORMATS[kind].cores, memory=1024 * MIB, background=True),
        )
        for kind, options in image.formats.items()
    ]


def _smoke(
    tests: _Tests,
    image: ImageConfig,
    download: Step[Image],
    disk: Step[Disk],
    references: list[Step[Verdict]],
    firmware: Firmware,
) -> Step[Verdict]:
    return step(
        f"smoke {download.name} {firmware}",
        smoke_test,
        tests.tree,
        download,
        disk,
        gather_available(references),
        tests.previous,
        _terms(tests, image.login),
        _run(tests, firmware),
        tools=_bench_tools(tests, firmware),
        cost=_guest_cost(tests.config, tests.host),
    )


def _smoke_disks(tests: _Tests, disk: Step[Disk], name: str) -> list[Step[Verdict]]:
    """Wire the tests of an installed disk, against all criteria: what is on a download with the same disk
    need not be tested again.
    """
    image, artifact = tests.config.images[name], f"disk {name}"
    firmwares = tests.config.smoke.installed if image.installed is None else image.installed
    found: list[Step[Verdict]] = []
    for firmware in firmwares:
        if firmware in image.firmware:
            found.append(
                step(
                    f"smoke {artifact} {firmware}",
                    smoke_disk,
                    tests.tree,
                    disk,
                    artifact,
                    gather_available(found[:1]),
                    tests.previous,
                    _terms(tests, image.login),
                    _run(tests, firmware),
                    tools=_bench_tools(tests, firmware),
                    cost=_guest_cost(tests.config, tests.host),
                )
            )
    return found


def _terms(tests: _Tests, login: Login) -> Terms:
    config, tree, today = tests.config, tests.config.tree, tests.host.today
    return Terms(
        login=login,
        user=config.smoke.user,
        storage=config.storage,
        remote=tree.remote,
        update_url=tree.update_url,
        update_verify=tree.update_verify,
        allowed_failed_units=tuple(config.smoke.failed_units_allowed),
        allowed_messages=tuple(
            message.pattern for message in config.smoke.messages_allowed if message.until >= today
        ),
        why_no_previous=tests.before.why_not,
        first_release=tests.before.first,
        # a day on which one expires is a day on which keys change; what is waived of a release (that it grew,
        # say) does not concern a guest
        waivers=tuple(
            Waiver(**{**waiver.model_dump(), "until": str(waiver.until)}, expired=waiver.until < today)
            for waiver in config.waivers
            if waiver.criterion not in GROWTH
        ),
    )


def _bench(tests: _Tests, firmware: Firmware) -> Bench:
    guest, accelerator = tests.config.smoke, tests.host.accelerator
    return Bench(
        firmware=firmware,
        accelerator=accelerator,
        cores=guest.cores or accelerator.cores,
        memory=guest.memory * MIB,
        cpu=guest.cpu,
    )


def _run(tests: _Tests, firmware: Firmware) -> Unkeyed[Run]:
    """Return where guests run and how often what fails is tried: of that, `_bench_tools` is in the key."""
    scope = Scope(tries=tests.config.smoke.tries, cells=tests.host.cells)
    return Unkeyed(Run(bench=_bench(tests, firmware), scope=scope))


def _bench_tools(tests: _Tests, firmware: Firmware) -> dict[str, str]:
    return bench_facts(_bench(tests, firmware)) | _emulated(tests.host)


def _guest_tools(host: Host, firmware: Firmware) -> dict[str, str]:
    return guest_tools(host.accelerator, firmware) | _emulated(host)


def _emulated(host: Host) -> dict[str, str]:
    # which of them a guest has follows from its tree
    return {"cpu": json.dumps(EMULATED)} if host.accelerator.name == "tcg" else {}


def _guest_cost(config: Config, host: Host) -> Cost:
    # two hosts of one image are compared: for a while there are two machines, of which one stands still
    cores = config.smoke.cores or host.accelerator.cores
    return Cost(cores=cores, memory=2 * (config.smoke.memory + 256) * MIB, guests=cores)


def _disk_cost(host: Host) -> Cost:
    return Cost(cores=2, memory=2048 * MIB, guests=2) if host.populate == ("appliance",) else Cost(cores=1)


def _versions(*programs: str) -> dict[str, str]:
    return {program: command.version(program) for program in programs}


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
