"""Arguments in, exit code out. Knows everything, holds no logic.

Exit codes: 0 all good; 1 a stage failed; 2 wrong usage or configuration; 3 only release criteria failed; 130
interrupted.
"""

import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from imagebuild import steplog
from imagebuild.cli import image as cli_image
from imagebuild.cli import machine as cli_host
from imagebuild.cli import publish as cli_publish
from imagebuild.cli.image import Wanted
from imagebuild.cli.progress import View, ending, showing
from imagebuild.cli.publish import Wish
from imagebuild.composers import Composed, mmdebstrap, rpm_ostree
from imagebuild.config.compose import MmdebstrapConfig
from imagebuild.config.places import cache_directory, source_date_epoch
from imagebuild.deploy import compare as disk_compare
from imagebuild.deploy import offline
from imagebuild.deploy.ways import choose_ways
from imagebuild.engine import graph, steps
from imagebuild.engine.graph import Outcome
from imagebuild.engine.steps import Cost, Step
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, CriteriaError, UsageError
from imagebuild.installers.registry import choose as choose_installer
from imagebuild.installers.unattended import remaster
from imagebuild.kinds import Firmware, Login
from imagebuild.model import Tree
from imagebuild.pipeline import Host, Pipeline, space_needed, wire
from imagebuild.publish import binding
from imagebuild.publish import promote as promoting
from imagebuild.release_line import model as release_line
from imagebuild.release_line import reading as configuration
from imagebuild.release_line.model import Config
from imagebuild.session import outcome as report
from imagebuild.session.material import material_of
from imagebuild.smoke import cells
from imagebuild.stages import kickstart as kickstarts
from imagebuild.stages.tree import Before, commit_object, pin, release_before
from imagebuild.tools import accelerator, command, temporary

GIB = 1024**3
INTERRUPTED = 130
# size of a tree's content when nothing is known of it yet
ASSUMED_TREE = 1_500_000_000
DEFAULT_STORE = Path("build/store")
DEFAULT_OUTPUT = Path("build/release")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="From an OSTree commit to a release you can trust.",
)
# paths are printed as they are: what stands in [] is no style
console = Console(markup=False)
complaints = Console(stderr=True, markup=False)
# what is shown now: a signal handler asks which steps run
_views: list[View] = []

RefOption = Annotated[
    str | None,
    typer.Option("--ref", help="ref to build; chooses the configuration when --config is not given"),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="configuration of the release line (YAML)")
]
StoreOption = Annotated[
    Path, typer.Option("--store", help="directory of finished artifacts and pulled commits")
]


def main() -> NoReturn:
    """Run the command line; never shows a traceback to the user."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # a shell's background job ignores SIGINT, what nohup started SIGHUP
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        temporary.sweep()
        temporary.adopt()
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # typer swallows KeyboardInterrupt and returns this
            raise KeyboardInterrupt
    except BuildError as error:
        report.show_error(complaints, error)
        code = error.exit_code
    except KeyboardInterrupt:
        _end_everything()
        complaints.print(
            "imagebuild: interrupted; what was finished is kept, run the same command again to go on"
        )
        code = INTERRUPTED
    except (typer.Exit, SystemExit) as error:
        code = getattr(error, "exit_code", None) or getattr(error, "code", 0) or 0
    except Exception as error:  # the last line of defence
        if hasattr(error, "format_message"):
            complaints.print(f"imagebuild: {error.format_message()}")
            code = 2
        else:
            complaints.print(
                f"imagebuild: this is a bug: {error!r}; please report it with the command you ran"
            )
            code = 1
    temporary.clear()
    sys.stdout.flush()
    sys.stderr.flush()
    # threads that wait for a killed program must not hold up the end
    os._exit(code)


def _interrupt(number: int, _: object) -> NoReturn:
    """End as Ctrl-C does, and say at once what is waited for. Not by raising that signal: a shell's
    background job ignores it.
    """
    # not through the console: the signal may have come in the middle of what it prints
    said = ending(signal.Signals(number).name, _running_steps(), command.running(), command.patience())
    os.write(sys.stderr.fileno(), f"imagebuild: {said}\n".encode())
    temporary.forget_secrets()
    raise KeyboardInterrupt


def _running_steps() -> list[str]:
    return _views[-1].running() if _views else []


def _end_everything() -> None:
    """End all programs; a second Ctrl-C or SIGTERM cannot interrupt that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    temporary.forget_secrets()
    command.end_all()
    temporary.clear()


def _load(ref: str | None, file: Path | None, store: Path) -> tuple[Config, str]:
    if file is not None:
        found = configuration.load(file, store)
        chosen = ref or found.the_ref()
        if not found.builds(chosen):
            raise UsageError(
                f"{file} does not build the ref {chosen}", hint=f"its patterns are: {', '.join(found.refs)}"
            )
        return found, chosen
    if ref is None:
        raise UsageError("which ref?", hint="give --ref REF or --config FILE")
    return configuration.find(ref, store)[1], ref


OutputOption = Annotated[Path, typer.Option("--output", help="directory of releases")]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", min=1, help="steps at the same time, background steps beside them; 1: one step at a time"
    ),
]
PopulateOption = Annotated[
    str | None, typer.Option("--populate", help="way to populate disks: offline, native or appliance")
]
NightlyOption = Annotated[
    bool, typer.Option("--nightly", help="a nightly compose; nothing is done when the ref has no new commit")
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", help="a nightly also without a new commit; a new compose of what was released before"
    ),
]
DateOption = Annotated[
    str | None, typer.Option("--date", help="day in the compose id, YYYYMMDD; not given: today (UTC)")
]
RespinOption = Annotated[
    int | None, typer.Option("--respin", min=0, help="respin number; not given: the next one")
]


@app.command("all")
def build_all(
    ref: RefOption = None,
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = DEFAULT_OUTPUT,
    jobs: JobsOption = max(2, os.cpu_count() or 2),
    populate: PopulateOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="say what would be built, and why, and stop")] = False,
    nightly: NightlyOption = False,
    force: ForceOption = False,
    date: DateOption = None,
    respin: RespinOption = None,
    reports: Annotated[
        Path | None,
        typer.Option(
            "--reports", help="directory of verdict.json, junit.xml and report.html; not given: --output"
        ),
    ] = None,
) -> None:
    """Build and test everything of a ref, and release it."""
    wanted = Wish(output=output, day=date, respin=respin, nightly=nightly, again=force)
    ready = _prepare(ref, config, store, wanted, populate)
    if plan:
        for each in ready.planned:
            console.print(
                f"{'build' if each.todo else 'keep '}  {each.step.name}: {each.reason}",
                highlight=False,
                soft_wrap=True,
            )
        return
    if (
        nightly
        and not force
        and cli_publish.nothing_new(ready.settings, output, ready.ref, ready.commit, console)
    ):
        return
    cli_publish.check_commit(output, ready.commit)
    _check_space(ready)
    cli_publish.check_signer(ready.settings)
    _build(ready, wanted, jobs, reports or output)


@app.command("release")
def release(
    ref: RefOption = None,
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
    output: OutputOption = DEFAULT_OUTPUT,
    populate: PopulateOption = None,
    nightly: NightlyOption = False,
    date: DateOption = None,
    respin: RespinOption = None,
) -> None:
    """Release what was built and tested already; nothing is built, and nothing is signed that was not
    tested.
    """
    wanted = Wish(output=output, day=date, respin=respin, nightly=nightly)
    ready = _prepare(ref, config, store, wanted, populate)
    missing = [
        each.step.name for each in ready.planned if each.todo and each.step is not ready.pipeline.release
    ]
    if missing:
        raise BuildError(
            f"not finished: {', '.join(missing)}", hint="imagebuild all builds and tests what is missing"
        )
    _build(ready, wanted, 1, output)


app.command("names")(cli_publish.names)
app.command("promote")(cli_publish.promote)
app.command("demote")(cli_publish.demote)
app.command("verify")(cli_publish.verify)
app.command("prune")(cli_publish.prune)
app.command("doctor")(cli_host.show_doctor)
app.command("status")(cli_host.show_status)
app.command("man")(cli_host.show_manual)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A wired graph and what there is of it."""

    settings: Config
    ref: str
    commit: str
    host: Host
    before: Before
    pipeline: Pipeline
    store: Store
    planned: list[graph.Planned]


def _prepare(ref: str | None, config: Path | None, store: Path, wanted: Wish, populate: str | None) -> _Ready:
    settings, chosen = _load(ref, config, store)
    ways, why = choose_ways(populate)
    speed = accelerator.probe(cache_directory())
    pinned = pin(settings.tree, chosen, update_ref=settings.stable_ref(chosen), say=_say)
    binding.check(settings, chosen, pinned.commit, commit_object(settings.tree, pinned.commit))
    released = promoting.last_commit(settings, wanted.output, chosen, but=pinned.commit)
    before = release_before(settings.tree, pinned, given=settings.previous, released=released)
    place = store.absolute()
    host = Host(
        repo=place / "repo",
        populate=ways,
        accelerator=speed,
        epoch=source_date_epoch(),
        cells=place / "cells",
    )
    pipeline = wire(settings, pinned, host, before)
    opened = Store(store)
    said = [f"{chosen} is {pinned.commit}"]
    said.append(
        f"hosts upgrade from {before.pin.commit}" if before.pin else f"no previous release: {before.why_not}"
    )
    if before.lost:
        said.append(
            f"hosts will not find that release by its version: {before.lost} (compose with it as the parent)"
        )
    said.append(
        f"populating disks: {' or '.join(ways)} ({why}); guests: {speed.name}, {speed.slowness:.1f} times"
        f" slower than native ({speed.reason})"
    )
    if settings.installer is not None:
        said.append(
            "installer ISO: {} ({})".format(
                *choose_installer(settings.installer, settings.product, settings.release)
            )
        )
    for line in said:
        console.print(line, highlight=False, soft_wrap=True)
    return _Ready(
        settings=settings,
        ref=chosen,
        commit=pinned.commit,
        host=host,
        before=before,
        pipeline=pipeline,
        store=opened,
        planned=graph.plan([pipeline.release], opened),
    )


def _say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _check_space(ready: _Ready) -> None:
    store, planned = ready.store, ready.planned
    missing = frozenset(each.step.name for each in planned if each.todo)
    tree = next(
        (
            store.find(steps.kind_of(each.step), steps.key_of(each.step))
            for each in planned
            if each.step.name == "pull"
        ),
        None,
    )
    needed = space_needed(ready.settings, int(tree.value["size"]) if tree else ASSUMED_TREE, missing)
    free = shutil.disk_usage(store.root).free
    if needed > free:
        raise BuildError(
            f"not enough space in {store.root}: this build needs about {needed / GIB:.1f} GiB,"
            f" {free / GIB:.1f} GiB are free",
            hint="imagebuild gc frees what older builds left; or give --store a larger file system",
        )


def _build(ready: _Ready, wanted: Wish, jobs: int, reports: Path) -> None:
    pipeline = ready.pipeline
    budget = Cost(cores=max(2, os.cpu_count() or 2), memory=_available_memory())
    # beside the steps as many for what is compressed in the background, unless one at a time is wanted
    executor = ThreadPoolExecutor(max_workers=1 if jobs == 1 else 2 * jobs)
    with showing(console) as view:
        _views.append(view)
        view.expect([each.name for each in graph.order([pipeline.release])])
        try:
            outcome = graph.build(
                [pipeline.release],
                ready.store,
                executor,
                budget=budget,
                listener=view,
                one_at_a_time=jobs == 1,
            )
        except KeyboardInterrupt:
            # not waited for: a thread may be inside a library that cannot be interrupted, and os._exit ends
            # it
            _end_everything()
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    _report(ready, outcome, wanted, reports)


def _available_memory() -> int:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def _report(ready: _Ready, outcome: Outcome, wanted: Wish, reports: Path) -> None:
    pipeline, verdict = ready.pipeline, report.cells_of(ready.pipeline, outcome)
    tree: Tree | None = outcome.values.get(pipeline.tree)
    cli_publish.write_reports(
        reports, f"{tree.pretty_name}: {tree.version}" if tree is not None else "Release criteria", verdict
    )
    downloads: tuple[Step[Any], ...] = (*pipeline.isos, *pipeline.images)
    found = [outcome.values[one] for one in downloads if one in outcome.values]
    report.show_artifacts(console, [(image, image.file) for image in found])
    report.show_criteria(console, verdict)
    for one, error in outcome.failed.items():
        report.show_error(complaints, error, where=one.name)
    for one, because in outcome.not_started.items():
        complaints.print(
            f"imagebuild: {one.name} was not started, because {because.name} failed", highlight=False
        )
    if outcome.failed:
        raise typer.Exit(
            3 if all(isinstance(error, CriteriaError) for error in outcome.failed.values()) else 1
        )
    material = material_of(
        ready.settings, pipeline, outcome, ready.host, ready.before, source_date_epoch() or int(time.time())
    )
    cli_publish.publish(material, wanted, console)


@app.command()
def compose(
    ref: RefOption = None,
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh", help="ask the package mirror again even if the cache is younger than a day"
        ),
    ] = False,
) -> None:
    """Make the next commit of a ref, if anything changed (the embedded default; release lines pull
    theirs).
    """
    settings, chosen = _load(ref, config, store)
    spec = settings.compose
    if spec is None:
        raise UsageError(
            "this configuration has no `compose`: its commits come from elsewhere",
            hint=f"they are pulled from {settings.tree.url}",
        )
    directory = store.absolute() / "compose"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "compose.log"
    log.unlink(missing_ok=True)
    with steplog.writing_to(log), console.status(f"composing {chosen} (log: {log})"):
        if isinstance(spec, MmdebstrapConfig):
            composed: Composed = mmdebstrap.compose(
                directory, chosen, spec, settings.tree, cache_directory(), refresh=refresh
            )
        else:
            composed = rpm_ostree.compose(directory, chosen, spec)
    console.print(
        f"{composed.ref}: {'new commit' if composed.new else 'unchanged'} {composed.commit}, version"
        f" {composed.version}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def kickstart(
    variant: Annotated[str, typer.Option("--variant", help="cloud, vagrant or installer")] = "cloud",
    ref: RefOption = None,
    config: ConfigOption = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print the kickstart of a variant, with its values filled in."""
    settings, chosen = _load(ref, config, store)
    template = settings.kickstarts.get(variant)
    if template is None:
        raise UsageError(
            f"this configuration has no kickstart for {variant}",
            hint=f"it has: {', '.join(settings.kickstarts)}",
        )
    follows = settings.stable_ref(chosen)
    filled = kickstarts.fill_in(
        template, kickstarts.values(follows, settings.tree, settings.arch) | template.values
    )
    kickstarts.check(filled, template, follows, settings.tree)
    sys.stdout.write(filled.text)


@app.command("config")
def show_config(
    file: Annotated[Path | None, typer.Argument(help="configuration to check")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema of configurations")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Check a configuration, or print the schema that editors use."""
    if schema:
        sys.stdout.write(release_line.schema())
    elif file is not None:
        found = configuration.load(file, store)
        console.print(f"{file}: fine; it builds {', '.join(found.refs)}", highlight=False)
    else:
        raise UsageError("what?", hint="give a FILE to check, or --schema")


iso_app = typer.Typer(no_args_is_help=True, help="Installer ISOs.")
app.add_typer(iso_app, name="iso")


@iso_app.callback()
def _iso() -> None:
    """Installer ISOs."""


@iso_app.command("add-kickstart")
def add_kickstart(
    source: Annotated[Path, typer.Argument(help="installer ISO: ours, lorax's, Fedora's")],
    kickstart: Annotated[Path, typer.Argument(help="kickstart to put on it")],
    target: Annotated[Path, typer.Argument(help="ISO to be written")],
    syntax: Annotated[
        str, typer.Option("--syntax", help="pykickstart's version of the release, such as F28")
    ] = "F28",
) -> None:
    """Turn an installer ISO into an unattended one: the kickstart on it, a boot entry for it, the media
    checksum anew.
    """
    if not source.is_file():
        raise UsageError(f"there is no file {source}")
    for seen in remaster.add_kickstart(source, kickstart, target, syntax=syntax):
        console.print(f"{target}: {seen}", highlight=False, soft_wrap=True, markup=False)


CommitOption = Annotated[
    str | None,
    typer.Option("--commit", help="commit that the image should hold; not given: the one it boots"),
]
FirmwareOption = Annotated[Firmware, typer.Option("--firmware")]
VagrantOption = Annotated[
    bool, typer.Option("--vagrant", help="log in with Vagrant's well-known key, not through cloud-init")
]


@app.command("test")
def hold(
    image: Annotated[
        Path,
        typer.Argument(
            help=(
                "any image, ours or not: a disk (compressed or not), Vagrant box, OVA, archive of one,"
                " installer ISO"
            )
        ),
    ],
    ref: RefOption = None,
    config: ConfigOption = None,
    criteria: Annotated[str, typer.Option("--criteria", help="only these, separated by commas")] = "",
    firmware: FirmwareOption = Firmware.UEFI,
    commit: CommitOption = None,
    previous: Annotated[
        str | None, typer.Option("--previous", help="commit of the release before, from which hosts upgrade")
    ] = None,
    repo: Annotated[
        Path | None,
        typer.Option("--repo", help="OSTree repository that has these commits; not given: the store's"),
    ] = None,
    vagrant: VagrantOption = False,
    store: StoreOption = DEFAULT_STORE,
    output: Annotated[Path, typer.Option("--output", help="where the report is written")] = Path(
        "build/test"
    ),
) -> None:
    """Hold any image against the release criteria, or some of them."""
    wanted = _wanted(image, ref, config, firmware, commit, previous, repo, vagrant=vagrant, store=store)
    cli_image.hold_image(wanted, tuple(filter(None, criteria.split(","))), output, console)


@app.command("boot")
def boot_copy(
    image: Annotated[Path, typer.Argument(help="any image")],
    command_line: Annotated[
        list[str] | None, typer.Argument(help="a command to run in it (after --); then it is switched off")
    ] = None,
    ref: RefOption = None,
    config: ConfigOption = None,
    firmware: FirmwareOption = Firmware.UEFI,
    vagrant: VagrantOption = False,
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="let it reach this host and the world; an image from elsewhere should not"
        ),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Boot a throw-away copy of an image, with a console and ssh."""
    wanted = _wanted(image, ref, config, firmware, None, None, None, vagrant=vagrant, store=store)
    raise typer.Exit(cli_image.boot_image(wanted, console, tuple(command_line or ()), network=network))


def _wanted(
    image: Path,
    ref: str | None,
    config: Path | None,
    firmware: Firmware,
    commit: str | None,
    previous: str | None,
    repo: Path | None,
    *,
    vagrant: bool,
    store: Path,
) -> Wanted:
    settings, chosen = _load(ref, config, store)
    place = (repo or store / "repo").absolute()
    return Wanted(
        image=image.absolute(),
        settings=settings,
        ref=chosen,
        firmware=firmware,
        login=Login.VAGRANT if vagrant else Login.CLOUD_INIT,
        commit=commit,
        previous=previous,
        repo=place if place.is_dir() else None,
    )


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(help="disk image: raw, qcow2, vmdk")],
    other: Annotated[Path, typer.Argument(help="disk image to hold against it")],
) -> None:
    """Say where two disk images differ: partition, file and inode.

    Exit status 0 when every byte is the same, 1 when they differ, 2 when that cannot be told.
    """
    for file in (one, other):
        if not file.is_file():
            raise UsageError(f"there is no file {file}")
    found = disk_compare.compare(one, other)
    for each in found:
        console.print(
            f"{each.area}: {each.blocks} blocks of 4 KiB differ, the first at byte {each.first}",
            highlight=False,
            soft_wrap=True,
        )
        for owner in each.owners:
            console.print(f"  {owner}", highlight=False, soft_wrap=True, markup=False)
    if found:
        raise typer.Exit(1)
    console.print("identical", highlight=False)


@app.command()
def gc(
    store: StoreOption = DEFAULT_STORE,
    keep: Annotated[
        int, typer.Option("--keep", min=0, help="how many of the newest builds keep their artifacts")
    ] = 3,
) -> None:
    """Remove artifacts that none of the newest builds used, and what killed or failed builds left, here and
    in temporary directories.
    """
    if not store.is_dir():
        raise UsageError(f"there is no store at {store}")
    freed, busy = Store(store).collect(keep)
    freed += (
        cells.collect(store / "cells")
        + cells.collect(cache_directory() / "consoles")
        + temporary.sweep()
        + offline.sweep()
    )
    # what large things of others are made in, unless configured otherwise: those are found from TMPDIR
    freed += temporary.sweep(Path("/var/tmp"))
    console.print(f"{freed / 1e6:.1f} MB freed in {store}", highlight=False)
    if busy:
        raise BuildError(
            f"{len(busy)} in use by another imagebuild stayed: {', '.join(busy)}",
            hint="run gc again when it has ended",
        )
