"""The commands about releases: names, release, promote, demote, verify, prune."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from imagebuild.config.places import cache_directory
from imagebuild.destinations.access import Destination, open_destination
from imagebuild.destinations.source import open_source
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, UsageError
from imagebuild.model import Cell
from imagebuild.publish import facts, marks, page
from imagebuild.publish import promote as promoting
from imagebuild.publish import prune as pruning
from imagebuild.publish import verify as verifying
from imagebuild.publish.assemble import assemble
from imagebuild.publish.material import Material
from imagebuild.publish.names import check_day, names_of
from imagebuild.publish.numbers import at_work, numbers_taken, released_as, take_names
from imagebuild.publish.pointers import names_listed
from imagebuild.publish.promote import Promotion
from imagebuild.publish.verify import Trust
from imagebuild.release_line import reading as configuration
from imagebuild.release_line.model import Config
from imagebuild.report import page as report_page
from imagebuild.session import outcome as report
from imagebuild.smoke import cells
from imagebuild.tools import gpg, temporary
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a release is to be called: its day (YYYYMMDD; None: today), a respin number or the next one, a
    nightly or not; and where it goes.

    `again`: a new one, also when the same was released before.
    """

    output: Path
    day: str | None = None
    respin: int | None = None
    nightly: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if self.day is not None:
            check_day(self.day)


def day_of(text: str | None) -> str:
    """Return a day as compose ids have it: the given one, or today's (UTC). Raises UsageError."""
    day = text or datetime.now(UTC).strftime("%Y%m%d")
    check_day(day)
    return day


def nothing_new(config: Config, output: Path, ref: str, commit: str, console: Console) -> bool:
    """Say so when a ref's commit was composed already."""
    for known in reversed(facts.history(output, ref)):
        if known.tree.commit == commit:
            with at_work(output):
                # that may have been interrupted just before this
                page.write_index(output, config)
            console.print(
                f"nothing to do: {commit} was composed already, as {known.compose_id} (--force composes it"
                " again)",
                highlight=False,
                soft_wrap=True,
            )
            return True
    return False


@contextlib.contextmanager
def signer_of(config: Config) -> Iterator[Signer]:
    """Yield the signer of a release line. Raises BuildError when nobody is configured, or the key is not
    there.
    """
    signing = config.publish.signing
    if signing is None:
        raise BuildError(
            "nobody signs: the configuration has no publish.signing",
            hint="name the key: publish: {signing: {user: FINGERPRINT}}",
        )
    homedir = Path(signing.homedir) if signing.homedir is not None else None
    key_file = Path(signing.key_file) if signing.key_file is not None else None
    with gpg.signer(signing.user, homedir=homedir, key_file=key_file, generate=signing.generate) as signer:
        yield signer


def check_signer(config: Config) -> None:
    """Raise BuildError now, not after an hour of tests, when the configured key cannot sign. Without one it
    is all built, and not released.
    """
    if config.publish.signing is not None:
        with signer_of(config) as signer:
            signer.clearsign("imagebuild\n")


def check_commit(output: Path, commit: str) -> None:
    """Raise BuildError for a commit that is marked bad: no release of it could be promoted, under no name."""
    if marks.is_marked(output, commit):
        raise BuildError(
            f"the commit {commit} is marked bad: {output / marks.name_of(commit)} says why",
            hint="the next commit makes the next release",
        )


def write_reports(place: Path, title: str, verdict: Sequence[tuple[Cell, Path]]) -> None:
    """Write the verdict as data, as JUnit and as a page: also of a build that is not released."""
    report.write_verdict(place / "verdict.json", verdict)
    report_page.write_junit(place / "junit.xml", verdict)
    report_page.write_page(place / "report.html", title, verdict)


def publish(material: Material, wish: Wish, console: Console) -> Path:
    """Make the release, unless it was made of exactly this already."""
    check_commit(wish.output, material.tree.commit)
    day = wish.day if wish.respin is None else day_of(wish.day)
    with at_work(wish.output):
        known = (
            None
            if wish.again
            else released_as(wish.output, material, nightly=wish.nightly, day=day, respin=wish.respin)
        )
        if known is not None:
            place = wish.output / known.compose_id
            # it may have been interrupted just before this
            page.write_index(wish.output, material.config)
            console.print(f"released before: {place}", highlight=False, soft_wrap=True)
            return place
        with signer_of(material.config) as signer:
            names = take_names(
                wish.output, material, day=day_of(wish.day), nightly=wish.nightly, respin=wish.respin
            )
            place = assemble(wish.output, material, names, signer)
    if material.config.tree.allow_unsigned:
        console.print(
            "the commit need not be signed (tree.allow_unsigned): nobody can verify this release, and it is"
            " not promoted",
            soft_wrap=True,
        )
    console.print(f"released: {place}", highlight=False, soft_wrap=True)
    console.print(f"page: {place / 'index.html'}", highlight=False, soft_wrap=True)
    return place


def names(
    config: Annotated[Path, typer.Option("--config", help="configuration of the release line (YAML)")],
    date: Annotated[str | None, typer.Option("--date", help="YYYYMMDD; not given: today (UTC)")] = None,
    respin: Annotated[int, typer.Option("--respin", min=0)] = 0,
    arch: Annotated[
        str | None, typer.Option("--arch", help="x86_64, aarch64, …; not given: the configuration's")
    ] = None,
    nightly: Annotated[bool, typer.Option("--nightly", help="as a nightly compose")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="with compose id, formats and CHECKSUM files, as JSON")
    ] = False,
) -> None:
    """Print the path of every file of a release, below its directory."""
    found = names_of(
        configuration.load(config, Path("build/store")), day_of(date), respin, arch=arch, nightly=nightly
    )
    if not as_json:
        sys.stdout.write("".join(f"{path}\n" for path in found.paths()))
        return
    downloads = [
        {
            "path": each.path,
            "image": each.image,
            "format": each.format,
            "variant": each.variant,
            "checksum": found.checksum_of(each.path),
        }
        for each in found.downloads
    ]
    document = {
        "compose_id": found.compose_id,
        "arch": found.arch,
        "downloads": downloads,
        "checksums": found.checksums,
        "manifest": found.manifest,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def verify(
    place: Annotated[
        str, typer.Argument(help="address (http, https) or directory of a release: …/COMPOSE_ID")
    ],
    key: Annotated[list[Path], typer.Option("--key", help="public key that releases are signed with")],
    commit_key: Annotated[
        list[Path] | None,
        typer.Option("--commit-key", help="public key that commits are signed with; not given: the same"),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="open every image and read which commit it holds")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="print what was found as JSON")] = False,
) -> None:
    """Verify a release, with only its public key.

    Exit codes: 0 it is what was signed; 4 signature or key; 5 a file is missing; 6 changed; 7 extra; 8 page;
    9 metadata; 10 an image holds another commit, or cannot be opened; 11 unreadable. Of several problems the
    first of these.
    """
    trust = Trust(
        keys=tuple(key), commit_keys=tuple(commit_key or key), open_images=images, cache=cache_directory()
    )
    found = verifying.verify(open_source(place), trust)
    if as_json:
        sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n")
    else:
        for line in verifying.describe(found):
            typer.echo(line)
    if found.problems:
        raise typer.Exit(found.exit_code())


ConfigOption = Annotated[Path, typer.Option("--config", help="configuration of the release line (YAML)")]
StoreOption = Annotated[
    Path, typer.Option("--store", help="directory of finished artifacts and pulled commits")
]
ToOption = Annotated[
    str | None, typer.Option("--to", help="destination; not given: publish.destination of the configuration")
]


def promote(
    places: Annotated[list[Path], typer.Argument(help="release directory, one for each architecture")],
    config: ConfigOption,
    store: StoreOption = Path("build/store"),
    to: ToOption = None,
) -> None:
    """Publish a release: upload and verify, static deltas, ref, signed summary, index. Run again, it goes on
    where it was interrupted.
    """
    with _wanted(config, store, to, places) as (wanted, signer):
        for line in promoting.promote(wanted, signer, step=lambda name: typer.echo(f"{name} …")):
            typer.echo(line)


def demote(
    place: Annotated[Path, typer.Argument(help="release directory")],
    reason: Annotated[str, typer.Option("--reason", help="why it is bad: published, signed")],
    config: ConfigOption,
    store: StoreOption = Path("build/store"),
    to: ToOption = None,
) -> None:
    """Mark a release bad, with a signed reason: it cannot be promoted any more, and nothing calls it the
    latest.
    """
    known = facts.read(place)
    with _wanted(config, store, to, [place]) as (wanted, signer), at_work(wanted.places[0].parent):
        mark = marks.text_of(known, reason, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), signer)
        promoting.demote(wanted, wanted.places[0], mark)
    typer.echo(
        f"{known.compose_id} is marked bad; hosts that have it go back with their own rollback, the ref was"
        " left where it is"
    )


@contextlib.contextmanager
def _wanted(
    config: Path, store: Path, to: str | None, places: Sequence[Path]
) -> Iterator[tuple[Promotion, Signer]]:
    settings = configuration.load(config, store)
    with signer_of(settings) as signer, _public(signer) as key:
        wanted = Promotion(
            config=settings,
            places=tuple(place.resolve() for place in places),
            destination=_destination(settings, to),
            source=store.absolute() / "repo",
            keys=(key,),
            cache=cache_directory(),
        )
        yield wanted, signer


def _destination(settings: Config, to: str | None) -> Destination:
    url = to or settings.publish.destination
    if url is None:
        raise UsageError("where to?", hint="give --to, or publish.destination in the configuration")
    return open_destination(url)


@contextlib.contextmanager
def _public(signer: Signer) -> Iterator[Path]:
    with temporary.file("key.asc") as file:
        file.write_text(signer.public_key())
        yield file


def prune(
    config: ConfigOption,
    ref: Annotated[
        str | None,
        typer.Option("--ref", help="ref whose releases are pruned; not given: the configuration's"),
    ] = None,
    store: StoreOption = Path("build/store"),
    output: Annotated[Path, typer.Option("--output", help="directory of releases")] = Path("build/release"),
    to: ToOption = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="do it; without this it is only said what would go")
    ] = False,
) -> None:
    """Remove old nightlies, releases that were superseded, artifacts and commits that nothing needs
    (publish.keep of the configuration).
    """
    settings = configuration.load(config, store)
    opened = Store(store)
    if opened.at_work():
        raise BuildError(
            f"a build is at work in {store}",
            hint="wait until it is over: it needs what nothing refers to yet",
        )
    if not output.is_dir():
        raise UsageError(f"there is no directory of releases at {output}", hint="give --output")
    there = names_listed(_destination(settings, to)) if to or settings.publish.destination else []
    with at_work(output, wait=False):
        _prune(settings, opened, output, ref or settings.the_ref(), there, yes=yes)


def _prune(
    settings: Config, store: Store, output: Path, ref: str, there: Sequence[str], *, yes: bool
) -> None:
    keep, releases, went = settings.publish.keep, facts.history(output, ref), promoting.promoted(output)
    doomed = pruning.superseded(
        releases, [*there, *(name for name, done in went.items() if done)], list(went), keep.nightlies
    )
    verb = "removed" if yes else "would go"
    for each in doomed:
        typer.echo(f"{verb}: {output / each.facts.compose_id} ({each.why})")
    for place in pruning.leftovers(output):
        typer.echo(f"{verb}: {place} (a release that was interrupted)")
    if yes:
        pruning.remove_releases(output, settings, doomed)
    here = {each.compose_id for each in releases} - {each.facts.compose_id for each in doomed}
    # also what an interrupted prune had removed: whatever was made here, and is not here
    gone = [name for name in numbers_taken(output) if name not in here]
    place = store.root / "repo"
    if (place / "config").is_file():
        kept = [each for each in releases if each.compose_id in here]
        count, size = pruning.prune_repo(Repo(place), ref, kept, gone, depth=keep.commits, really=yes)
        typer.echo(f"{verb}: {count} objects of {place} ({facts.megabytes(size)})")
    if yes:
        freed, _ = store.collect(keep.builds)
        freed += cells.collect(store.root / "cells")
        typer.echo(
            f"removed: artifacts of builds older than the newest {keep.builds} ({facts.megabytes(freed)})"
        )
    else:
        typer.echo(f"would go: artifacts of builds older than the newest {keep.builds}; --yes does it")
