"""What may go: old nightlies, composes that were superseded before anybody promoted them, commits that
nothing refers to any longer.

First it is said what would go; nothing goes until it was asked for. What was promoted always stays.
"""

import contextlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuild.publish import facts, index
from imagebuild.publish.facts import Facts
from imagebuild.release_line.model import Config
from imagebuild.tools.ostree.repository import Repo

# refs of ours that keep the commits of releases
KEPT = "imagebuild/released"


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """A release that goes, and why."""

    facts: Facts
    why: str


def superseded(
    releases: Sequence[Facts], promoted: Collection[str], begun: Collection[str], keep: int
) -> list[Doomed]:
    """Return the releases that go: nightlies beyond the newest `keep`, and releases older than one that was
    promoted and were not themselves.

    What has `begun` to go out stays as well.
    """
    nightlies = [each for each in releases if each.nightly]
    found = [
        Doomed(facts=known, why=f"a nightly, older than the newest {keep}")
        for known in nightlies[: max(0, len(nightlies) - keep)]
    ]
    ours = [each for each in releases if not each.nightly]
    last = max((number for number, each in enumerate(ours) if each.compose_id in promoted), default=-1)
    found += [
        Doomed(facts=known, why=f"never promoted, and {ours[last].compose_id} was since")
        for known in ours[: max(last, 0)]
    ]
    return [each for each in found if each.facts.compose_id not in {*promoted, *begun}]


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """The names of releases whose promotion was finished, and of all that it was begun of."""

    done: frozenset[str]
    begun: frozenset[str]


def without_others(output: Path, doomed: Sequence[Doomed], promoted: Promoted, keep: int) -> list[Doomed]:
    """Return the releases that go, without those whose compose has an architecture that stays: a compose goes
    as a whole.
    """
    found = []
    for known in doomed:
        others = [
            each.ref
            for each in facts.read_all(output / known.facts.compose_id)
            if each.ref != known.facts.ref
        ]
        gone = [
            {each.facts.compose_id for each in superseded(history, promoted.done, promoted.begun, keep)}
            for history in (facts.history(output, ref) for ref in others)
        ]
        if all(known.facts.compose_id in names for names in gone):
            found.append(known)
    return found


def leftovers(output: Path) -> Iterator[Path]:
    """Yield what releases that were interrupted have left."""
    yield from sorted(output.glob(".*.partial"))


def remove_releases(output: Path, config: Config, doomed: Sequence[Doomed]) -> None:
    """Remove releases: the index first, then each out of sight, then its files."""
    names = {each.facts.compose_id for each in doomed}
    index.write_index(output, config, but=names)
    for name in sorted(names):
        away = output / f".{name}.partial"
        shutil.rmtree(away, ignore_errors=True)
        (output / name).rename(away)
    for place in leftovers(output):
        shutil.rmtree(place)


def prune_repo(
    repo: Repo, ref: str, kept: Sequence[Facts], gone: Collection[str], *, depth: int, really: bool
) -> tuple[int, int]:
    """Remove the objects that no ref and no kept release needs; return how many, and their bytes.

    Each kept release's commit, and the one before it, get a ref of their own, which releases that are `gone`
    lose; `depth` commits of every ref's history stay.
    """
    # a store may serve several refs: only what is of this one is decided here
    base = f"{KEPT}/{ref}"
    wanted = {f"{base}/{each.compose_id}": each.tree.commit for each in kept if repo.has(each.tree.commit)}
    wanted |= {
        f"{base}/before-{each.compose_id}": each.previous.commit
        for each in kept
        if each.previous is not None and repo.has(each.previous.commit)
    }
    with contextlib.ExitStack() as stack:
        # asking changes nothing: the refs are moved in a repository that only looks into this one
        used = repo if really else stack.enter_context(repo.view())
        known = {name: commit for name, commit in used.refs().items() if name.startswith(f"{base}/")}
        for name, commit in wanted.items():
            if known.get(name) != commit:
                used.set_ref(name, commit)
        for name in known:
            if name not in wanted and name.removeprefix(f"{base}/").removeprefix("before-") in gone:
                used.set_ref(name, None)
        return used.prune(depth=depth, really=really)
