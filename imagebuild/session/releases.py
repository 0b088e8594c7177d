"""From tested downloads to a release, and what becomes of releases: made, promoted, marked bad, pruned.

Nothing here prints: what there is to tell is returned, or handed to `say`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imagebuild import files
from imagebuild.config.places import cache_directory
from imagebuild.destinations.destination import Destination
from imagebuild.destinations.registry import open_destination
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.store import Store
from imagebuild.errors import BuildError, UsageError
from imagebuild.publish import advisories, facts, index, joint, marks
from imagebuild.publish import promote as promoting
from imagebuild.publish import prune as pruning
from imagebuild.publish.admission import Promotion
from imagebuild.publish.assemble import assemble
from imagebuild.publish.attestations import attester_of
from imagebuild.publish.material import Material
from imagebuild.publish.names import check_day, day_of
from imagebuild.publish.numbers import at_work, day_to_join, numbers_taken, released_as, take_names
from imagebuild.publish.pointers import names_listed
from imagebuild.release_line.model import Config
from imagebuild.session import storage
from imagebuild.smoke import cells
from imagebuild.tools import gpg, temporary
from imagebuild.tools.gpg import Signer
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a release is to be called: its day (YYYYMMDD; None: today), a respin number or the next one, a
    nightly or not; and where it goes.

    `again`: a new one, also when the same was released before. Raises UsageError for what is not a day.
    """

    output: Path
    day: str | None = None
    respin: int | None = None
    nightly: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if self.day is not None:
            check_day(self.day)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a release lies; `new` says whether it was made now, `unsigned` that its commit need not be
    signed.
    """

    place: Path
    new: bool
    unsigned: bool = False


def composed_before(config: Config, output: Path, ref: str, commit: str) -> str | None:
    """Return the compose id of the newest release of a commit; None when there is none."""
    for release in reversed(facts.history(output, ref)):
        if release.tree.commit == commit:
            with at_work(output):
                # that may have been interrupted just before this
                index.write_index(output, config)
            return release.compose_id
    return None


def nothing_new(config: Config, ref: str, commit: str, wish: Wish) -> str | None:
    """Return why a nightly is not composed; None when it is."""
    if not wish.nightly or wish.again:
        return None
    before = composed_before(config, wish.output, ref, commit)
    return (
        f"nothing to do: {commit} was composed already, as {before} (--force composes it again)"
        if before is not None
        else None
    )


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
    """Raise BuildError now, not after an hour of tests, when a configured key cannot sign, or there are no
    advisories. Without a key it is all built, and not released.
    """
    if config.publish.signing is not None:
        with signer_of(config) as signer:
            signer.clearsign("imagebuild\n")
        attester_of(config)
    if config.publish.audit is not None:
        advisories.check(Path(config.publish.audit.advisories))


def check_commit(output: Path, commit: str) -> None:
    """Raise BuildError for a commit that is marked bad: no release of it could be promoted, under no name."""
    if marks.is_marked(output, commit):
        raise BuildError(
            f"the commit {commit} is marked bad: {output / marks.name_of(commit)} says why",
            hint="the next commit makes the next release",
        )


def publish(material: Material, wish: Wish) -> Published:
    """Make the release, unless it was made of exactly this already. Raises BuildError."""
    check_commit(wish.output, material.tree.commit)
    day = wish.day if wish.respin is None else day_of(wish.day)
    with files.naming(wish.output), at_work(wish.output):
        before = (
            None
            if wish.again
            else released_as(wish.output, material, nightly=wish.nightly, day=day, respin=wish.respin)
        )
        if before is not None:
            # it may have been interrupted just before this
            place = wish.output / before.compose_id
            if before.joint:
                with signer_of(material.config) as signer:
                    joint.complete(place, material.config, signer)
            index.write_index(wish.output, material.config)
            return Published(place=place, new=False)
        with signer_of(material.config) as signer:
            day = wish.day or day_to_join(wish.output, material, nightly=wish.nightly) or day_of(None)
            names = take_names(
                wish.output,
                material,
                day=day,
                nightly=wish.nightly,
                signer=signer.fingerprint,
                respin=wish.respin,
            )
            place = assemble(wish.output, material, names, signer)
    return Published(place=place, new=True, unsigned=material.config.tree.allow_unsigned)


# --- where releases go ------------------------------------------------------------------------------------


def destination_of(config: Config, to: str | None) -> Destination:
    """Open the given destination, or the configuration's. Raises UsageError when there is neither."""
    url = to or config.publish.destination
    if url is None:
        raise UsageError(
            "there is no destination for releases",
            hint="give --to, or publish.destination in the configuration",
        )
    return open_destination(url)


@contextlib.contextmanager
def _promotion(
    config: Config,
    store: Path,
    to: str | None,
    places: Sequence[Path],
    *,
    lines: Sequence[Config] = (),
    later: Sequence[str] = (),
) -> Iterator[tuple[Promotion, Signer]]:
    with signer_of(config) as signer, temporary.file("key.asc") as key:
        key.write_text(signer.public_key())
        promotion = Promotion(
            config=config,
            places=tuple(place.resolve() for place in places),
            destination=destination_of(config, to),
            source=store.absolute() / "repo",
            keys=(key,),
            cache=cache_directory(),
            lines=tuple(lines),
            later=tuple(later),
        )
        yield promotion, signer


def promote(
    config: Config,
    store: Path,
    places: Sequence[Path],
    to: str | None,
    say: Callable[[str], None],
    *,
    lines: Sequence[Config] = (),
    later: Sequence[str] = (),
) -> None:
    """Publish releases, of each architecture one: upload and verify, static deltas, ref, signed summary,
    index. `lines` are configurations of architectures that have one of their own, `later` those that join the
    compose later.

    Run again, it goes on where it was interrupted. Raises BuildError.
    """
    with _promotion(config, store, to, places, lines=lines, later=later) as (promotion, signer):
        for line in promoting.promote(promotion, signer, step=lambda name: say(f"{name} …")):
            say(line)


def demote(config: Config, store: Path, place: Path, reason: str, to: str | None) -> str:
    """Mark a release bad, with a signed reason, and return its compose id. Raises BuildError."""
    releases = facts.read_all(place)
    with (
        _promotion(config, store, to, [place]) as (promotion, signer),
        at_work(promotion.places[0].parent),
    ):
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        promoting.demote(promotion, promotion.places[0], marks.text_of(releases, reason, now, signer))
    return releases[0].compose_id


# --- what goes --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Something that went, or would go: what it is, and why (empty: it needs no reason)."""

    what: str
    why: str = ""


def prune(
    config: Config,
    ref: str,
    store: Path,
    output: Path,
    to: str | None,
    *,
    really: bool,
    store_remote: str | None = None,
) -> list[Pruned]:
    """Remove old nightlies, superseded releases, artifacts and commits that nothing needs (publish.keep), and
    what nobody has used of a remote store for `storage.GRACE_DAYS`.

    Returns what went, or with `really` unset what would. Raises BuildError while a build is at work.
    """
    opened = DirectoryStore(store)
    if opened.at_work():
        raise BuildError(
            f"a build is at work in {store}",
            hint="wait until it is over: it needs what nothing refers to yet",
        )
    if not output.is_dir():
        raise UsageError(f"there is no directory of releases at {output}", hint="give --output")
    there = names_listed(destination_of(config, to)) if to or config.publish.destination else []
    with at_work(output, wait=False):
        pruned = _prune(config, opened, output, ref, there, really=really)
    if store_remote is None:
        return pruned
    unused = f"artifacts of {store_remote} that no build of the last {storage.GRACE_DAYS} days has used"
    if not really:
        return [*pruned, Pruned(what=unused)]
    swept = storage.collect_remote(store_remote, config.publish.keep.builds)
    return [*pruned, Pruned(what=f"{swept.results} {unused} ({facts.megabytes(swept.size)})")]


def _prune(
    config: Config, store: Store, output: Path, ref: str, there: Sequence[str], *, really: bool
) -> list[Pruned]:
    keep, releases, went = config.publish.keep, facts.history(output, ref), promoting.promoted(output)
    promoted = pruning.Promoted(
        done=frozenset({*there, *(name for name, done in went.items() if done)}), begun=frozenset(went)
    )
    doomed = pruning.superseded(releases, promoted.done, promoted.begun, keep.nightlies)
    doomed = pruning.without_others(output, doomed, promoted, keep.nightlies)
    pruned = [
        Pruned(what=str(output / superseded.facts.compose_id), why=superseded.why) for superseded in doomed
    ]
    pruned += [
        Pruned(what=str(place), why="a release that was interrupted") for place in pruning.leftovers(output)
    ]
    if really:
        pruning.remove_releases(output, config, doomed)
    here = {release.compose_id for release in releases} - {gone.facts.compose_id for gone in doomed}
    # also what an interrupted prune had removed: whatever was made here, and is not here
    gone = [name for name in numbers_taken(output) if name not in here]
    place = store.root / "repo"
    if (place / "config").is_file():
        kept = [release for release in releases if release.compose_id in here]
        count, size = pruning.prune_repo(Repo(place), ref, kept, gone, depth=keep.commits, really=really)
        pruned.append(Pruned(what=f"{count} objects of {place} ({facts.megabytes(size)})"))
    older = f"artifacts of builds older than the newest {keep.builds}"
    if not really:
        return [*pruned, Pruned(what=older)]
    freed, _ = store.collect(keep.builds)
    freed += cells.collect(store.root / "cells")
    return [*pruned, Pruned(what=f"{older} ({facts.megabytes(freed)})")]
