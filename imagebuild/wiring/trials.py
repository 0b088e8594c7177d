"""Steps that test: which guest, by what promise, on which bench."""

from dataclasses import dataclass

from imagebuild.config.places import template
from imagebuild.engine.steps import Step, Unkeyed, gather_available, step
from imagebuild.kinds import Firmware, Login
from imagebuild.model import Delta, Disk, Image, Installation, Tree, Verdict, Waiver
from imagebuild.release_line.images import ImageConfig
from imagebuild.release_line.model import Config
from imagebuild.smoke.access import access_of
from imagebuild.smoke.guest import WAKE
from imagebuild.smoke.trial import Bench, Run, Scope, Terms, bench_facts
from imagebuild.smoke.waivers import OF_RELEASES
from imagebuild.stages.smoke import smoke_disk, smoke_installation, smoke_test
from imagebuild.stages.tree import Before
from imagebuild.wiring.builder import MIB, Builder, emulated_processors, guest_cost

READS = (template(WAKE),)


@dataclass(frozen=True, kw_only=True)
class Tests:
    """What all smoke tests have in common."""

    config: Config
    builder: Builder
    tree: Step[Tree]
    previous: Step[tuple[Tree, ...]]
    deltas: Step[tuple[Delta, ...]]
    before: Before


def trial_of_installation(tests: Tests, firmware: Firmware, one: Step[Installation]) -> Step[Verdict]:
    """Wire the test of an installed builder."""
    return step(
        f"smoke iso {firmware}",
        smoke_installation,
        tests.tree,
        one,
        tests.previous,
        tests.deltas,
        _terms(tests, Login.CLOUD_INIT),
        _run(tests, firmware),
        tools=_bench_tools(tests, firmware),
        cost=guest_cost(tests.config, tests.builder),
        reads=READS,
    )


def trial_of_download(
    tests: Tests,
    image: ImageConfig,
    download: Step[Image],
    disk: Step[Disk],
    references: list[Step[Verdict]],
    firmware: Firmware,
) -> Step[Verdict]:
    """Wire the test of a download under a firmware."""
    return step(
        f"smoke {download.name} {firmware}",
        smoke_test,
        tests.tree,
        download,
        disk,
        gather_available(references),
        tests.previous,
        tests.deltas,
        _terms(tests, image.login),
        _run(tests, firmware),
        tools=_bench_tools(tests, firmware),
        cost=guest_cost(tests.config, tests.builder),
        reads=READS,
    )


def trials_of_disk(tests: Tests, disk: Step[Disk], name: str) -> list[Step[Verdict]]:
    """Wire the tests of an installed disk, against all criteria: what is on a download with the same disk
    need not be tested again, nor booted under the same firmware and on the same controller.
    """
    image, artifact = tests.config.images[name], f"disk {name}"
    first = tests.config.smoke.installed if image.installed is None else image.installed
    # one boot here stands for that of each download that holds the same disk
    firmwares = dict.fromkeys([*first, *image.firmware]) if first else ()
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
                    tests.deltas,
                    _terms(tests, image.login),
                    _run(tests, firmware),
                    tools=_bench_tools(tests, firmware),
                    cost=guest_cost(tests.config, tests.builder),
                    reads=READS,
                )
            )
    return found


def _terms(tests: Tests, login: Login) -> Terms:
    config, tree, today = tests.config, tests.config.tree, tests.builder.today
    return Terms(
        login=login,
        user=config.smoke.user,
        storage=config.storage,
        remote=tree.remote,
        update_url=tree.update_url,
        update_verify=tree.update_verify,
        access=access_of(config.access),
        allowed_failed_units=tuple(config.smoke.failed_units_allowed),
        allowed_messages=tuple(
            message.pattern for message in config.smoke.messages_allowed if message.until >= today
        ),
        why_no_previous=tests.before.why_not,
        first_release=tests.before.first,
        older_releases=tuple(older.name for older in tests.before.others),
        why_no_line=tests.before.why_no_line,
        # a day on which one expires is a day on which keys change; what is waived of a release (that it grew,
        # say) does not concern a guest
        waivers=tuple(
            Waiver(**{**waiver.model_dump(), "until": str(waiver.until)}, expired=waiver.until < today)
            for waiver in config.waivers
            if waiver.criterion not in OF_RELEASES
        ),
    )


def _bench(tests: Tests, firmware: Firmware) -> Bench:
    guest, accelerator = tests.config.smoke, tests.builder.accelerator
    return Bench(
        firmware=firmware,
        accelerator=accelerator,
        cores=guest.cores or accelerator.cores,
        memory=guest.memory * MIB,
        cpu=guest.cpu,
    )


def _run(tests: Tests, firmware: Firmware) -> Unkeyed[Run]:
    """Return where guests run and how often what fails is tried: of that, `_bench_tools` is in the key."""
    builder = tests.builder
    scope = Scope(
        tries=tests.config.smoke.tries,
        cells=builder.cells,
        saved=builder.saved,
        cells_remote=builder.cells_remote,
    )
    return Unkeyed(Run(bench=_bench(tests, firmware), scope=scope))


def _bench_tools(tests: Tests, firmware: Firmware) -> dict[str, str]:
    return bench_facts(_bench(tests, firmware)) | emulated_processors(tests.builder)
