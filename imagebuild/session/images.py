"""Any image file: tested by the release criteria, or booted for a look."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild import files, steplog
from imagebuild.config.places import cache_directory
from imagebuild.config.smoke import SmokeConfig
from imagebuild.deploy import compare
from imagebuild.deploy.compare import Difference
from imagebuild.engine import guest_slots
from imagebuild.errors import BuildError, CriteriaError, UsageError
from imagebuild.formats.format import Unpacked
from imagebuild.installers.unattended import remaster
from imagebuild.kinds import Firmware, Login, State
from imagebuild.model import Cell, Tree
from imagebuild.release_line.model import Config
from imagebuild.session.outcome import write_reports
from imagebuild.smoke import any_image, verdict
from imagebuild.smoke.access import access_of
from imagebuild.smoke.criteria import registry as criteria
from imagebuild.smoke.first_boot import guest
from imagebuild.smoke.trial import Bench, Promise, Run, Scope, Subject, Terms, Trial
from imagebuild.stages.earlier import names_of
from imagebuild.stages.smoke import GROWN, promise_of, smoke_file, subject_of
from imagebuild.stages.tree import Pin, describe_tree
from imagebuild.tools import accelerator, temporary
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.ostree.repository import Repo

MIB = 1024 * 1024
POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person wants of an image: under which firmware, with whose log-in, which commit it should be,
    where releases lie.
    """

    image: Path
    settings: Config
    ref: str
    firmware: Firmware
    login: Login
    commit: str | None
    previous: tuple[str, ...]
    repo: Path | None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How an image did: each cell with the directory of its evidence, the report, and the error that it ends
    with.
    """

    cells: tuple[tuple[Cell, Path], ...]
    report: Path
    problem: BuildError | None


def _accelerator(settings: Config) -> Accelerator:
    """Return the accelerator with a processor on which any tree can run: nobody knows yet what is in the
    image.
    """
    return accelerator.probe(cache_directory()).of(settings.arch).suited(0, settings.smoke.cpu)


def try_image(
    wanted: Wanted,
    chosen: tuple[str, ...],
    output: Path,
    say: Callable[[str], None],
    *,
    terminal: Path | None = None,
) -> Tried:
    """Test an image by the criteria, or the chosen ones, and write the report to `output`.

    `terminal` is the device at which a person sits who looks at a guest in which a criterion failed, before
    it is ended (None: nobody does). Raises BuildError when the image cannot be tested at all.
    """
    _check_names(wanted.image, chosen)
    speed = _accelerator(wanted.settings)
    output.mkdir(parents=True, exist_ok=True)
    out = files.new_directory(output, "run").absolute()
    with (
        temporary.directory("image") as work, steplog.writing_to(out / "log"),
        guest_slots.taken(wanted.settings.smoke.cores or speed.cores, say=say),
        any_image.opened(wanted.image, work, wanted.firmware, speed) as (unpacked, installed),
    ):  # fmt: skip
        for sentence in any_image.refused_for(wanted.image):
            say(f"{wanted.image.name} would be refused by those it is for: {sentence}")
        tree = _tree(wanted, unpacked, speed, out)
        say(f"{wanted.image.name}: {unpacked.format}, commit {tree.commit}, {tree.host_kind} host")
        cells, problem = _held(
            wanted,
            tree,
            subject_of(wanted.image.name, unpacked, grow=0 if installed else GROWN),
            speed,
            out,
            only=chosen,
            terminal=terminal,
        )
        if installed and (not chosen or criteria.INSTALLS in chosen):
            cells = (_installed(wanted, Path(work), out), *cells)
    with_evidence = tuple((cell, out / "evidence") for cell in cells)
    write_reports(output, wanted.image.name, with_evidence)
    return Tried(cells=with_evidence, report=output / "report.html", problem=problem)


def _check_names(image: Path, chosen: tuple[str, ...]) -> None:
    """Raise UsageError for a criterion that there is not, or not for this image."""
    known = criteria.required(atomic=True, installer=True)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise UsageError(f"there is no criterion {', '.join(unknown)}", hint=f"there are: {', '.join(known)}")
    if criteria.INSTALLS in chosen and not (found := any_image.recognise(image)).startswith("iso"):
        raise UsageError(
            f"{criteria.INSTALLS} is asked of installer ISOs only, and {image.name} is {found}",
            hint="leave it out, or give the ISO",
        )


def _installed(wanted: Wanted, work: Path, out: Path) -> Cell:
    """Return the cell of an installation, which has gone well by now, and keep its consoles beside the other
    evidence.
    """
    evidence = out / "evidence"
    evidence.mkdir(exist_ok=True)
    for file in sorted((work / "installation").glob("*")):
        if file.is_file():
            shutil.copyfile(file, evidence / f"installer-{file.name}")
    return Cell(
        criterion=criteria.INSTALLS,
        artifact=wanted.image.name,
        firmware=wanted.firmware,
        state=State.PASSED,
        reason="",
        evidence="installer-serial.log",
        seconds=0.0,
    )


def _held(
    wanted: Wanted,
    tree: Tree,
    subject: Subject,
    speed: Accelerator,
    out: Path,
    *,
    only: tuple[str, ...],
    terminal: Path | None,
) -> tuple[tuple[Cell, ...], BuildError | None]:
    if set(only) == {criteria.INSTALLS}:
        return (), None
    previous = _previous(wanted)
    names = names_of([(older.commit, older.version) for older in previous[1:]])
    terms = replace(_terms(wanted), older_releases=names)
    promise = promise_of(tree, previous, terms, commit_given=wanted.commit is not None)
    scope = Scope(
        criteria=tuple(name for name in only if name != criteria.INSTALLS),
        # who has looked at a failure need not see it again
        tries=1 if terminal is not None else wanted.settings.smoke.tries,
        terminal=terminal,
    )
    try:
        return smoke_file(
            out, tree, subject, promise, Run(bench=_bench(wanted, speed), scope=scope)
        ).cells, None
    except CriteriaError as error:
        return verdict.read(out / verdict.FILE), error


def _from_repo(wanted: Wanted, commit: str) -> Tree | None:
    """Describe a commit of the repository; None when there is no repository, or no such commit in it."""
    if wanted.repo is None or not Repo(wanted.repo).has(commit):
        return None
    return describe_tree(
        Repo(wanted.repo),
        Pin(ref=wanted.ref, commit=commit, update_ref=wanted.settings.stable_ref(wanted.ref)),
    )


def _previous(wanted: Wanted) -> tuple[Tree, ...]:
    """Describe the releases before, the newest first."""
    found = []
    for commit in dict.fromkeys(wanted.previous):
        older = _from_repo(wanted, commit)
        if older is None:
            raise UsageError(
                f"{wanted.repo or 'no repository'} has no commit {commit}",
                hint="--repo names one that has the previous release",
            )
        found.append(older)
    return tuple(sorted(found, key=lambda older: older.timestamp, reverse=True))


def _tree(wanted: Wanted, unpacked: Unpacked, speed: Accelerator, out: Path) -> Tree:
    """Return what the image should be: of the commit that was given, and otherwise of the one that it
    boots.
    """
    known = _from_repo(wanted, wanted.commit) if wanted.commit is not None else None
    if known is not None:
        return known
    place = out / "peek"
    place.mkdir()
    peeked = any_image.peek(_trial(wanted, unpacked, speed, place))
    commit = wanted.commit or peeked.deployment.commit
    # what no repository has cannot be described: only the image's own word is known
    return _from_repo(wanted, commit) or Tree(
        repo=wanted.repo or Path("/nonexistent"),
        ref=wanted.ref,
        commit=commit,
        version=peeked.deployment.version,
        arch=wanted.settings.arch,
        kernel="",
        host_kind=peeked.kind,
        pretty_name=wanted.image.name,
        os_id="",
        files=0,
        size=0,
        timestamp=0,
        update_ref=wanted.settings.stable_ref(wanted.ref),
    )


def _terms(wanted: Wanted) -> Terms:
    settings = wanted.settings
    return Terms(
        login=wanted.login,
        user=settings.smoke.user,
        storage=settings.storage,
        remote=settings.tree.remote,
        update_url=settings.tree.update_url,
        update_verify=settings.tree.update_verify,
        access=access_of(settings.access),
        allowed_failed_units=tuple(settings.smoke.failed_units_allowed),
        why_no_previous="none was given (--previous)",
    )


def _bench(wanted: Wanted, speed: Accelerator) -> Bench:
    smoke: SmokeConfig = wanted.settings.smoke
    return Bench(
        firmware=wanted.firmware,
        accelerator=speed,
        cores=smoke.cores or speed.cores,
        memory=smoke.memory * MIB,
        cpu=smoke.cpu,
    )


def _trial(wanted: Wanted, unpacked: Unpacked, speed: Accelerator, evidence: Path) -> Trial:
    """Return a trial of an image of which nothing is known yet."""
    return Trial(
        subject=subject_of(wanted.image.name, unpacked, grow=0),
        bench=_bench(wanted, speed),
        promise=Promise(terms=_terms(wanted), commit="", version="", ref="", host_kind="ostree"),
        scope=Scope(),
        evidence=evidence,
    )


def boot_image(wanted: Wanted, command: tuple[str, ...], *, network: bool, say: Callable[[str], None]) -> int:
    """Boot a throw-away copy of an image and say how to reach it, until Ctrl-C or its own shutdown; or run
    one command in it.

    Returns the command's exit status. Raises BuildError when it does not come up.
    """
    speed = _accelerator(wanted.settings)
    with temporary.directory("boot") as work:
        (work / "unpacked").mkdir()
        with any_image.opened(wanted.image, work / "unpacked", wanted.firmware, speed) as (unpacked, _):
            trial = _trial(wanted, unpacked, speed, work / "evidence")
            console = trial.evidence / "serial.log"
            say(f"booting a copy of {wanted.image} under {wanted.firmware}; console: {console}")
            with guest(trial, trial.evidence, isolated=not network) as (machine, boot):
                if boot.host is None:
                    kept = files.new_directory(cache_directory() / "consoles", time.strftime("%Y%m%dT%H%M%S"))
                    shutil.copytree(trial.evidence, kept, dirs_exist_ok=True)
                    problem = boot.problem or "the host did not come up"
                    raise BuildError(problem, hint=f"the console is kept in {kept}")
                if command:
                    answer = boot.host.run(*command, seconds=600, root=False)
                    say((answer.output + answer.complaint).removesuffix("\n"))
                    return answer.status
                say(f"ssh: {machine.ssh_command()}")
                say(f"console: tail -f {console}")
                say("Ctrl-C ends it; nothing is kept")
                while machine.alive:
                    time.sleep(POLL_SECONDS)
    return os.EX_OK


def compare_disks(one: Path, other: Path) -> list[Difference]:
    """Return where two disk images differ; nothing when every byte is the same. Raises ComparisonError."""
    return list(compare.compare(one, other))


def add_kickstart_to_iso(source: Path, kickstart: Path, target: Path, *, syntax: str) -> list[remaster.Seen]:
    """Write an unattended installer of an installer ISO; return what was changed. Raises BuildError."""
    return list(remaster.add_kickstart(source, kickstart, target, syntax=syntax))
