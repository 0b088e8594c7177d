"""The releases that hosts come from: the one before, older ones of hosts that have slept, and the last of the
release line before. All are found before anything is built.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild import files
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.stages.tree import Before, Earlier, Pin, commit_object, patience, release_before
from imagebuild.tools.access import access_to
from imagebuild.tools.ostree import binding as ostree_binding
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.repository import Repo

KEY = "previous"


@dataclass(frozen=True, kw_only=True)
class LineBefore:
    """The release line before: its ref (None: there is none), and the URLs of repositories on this machine
    that may have it, the first that does counts.
    """

    ref: str | None = None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Given:
    commit: str
    version: str
    timestamp: int


def releases_before(
    tree: TreeConfig,
    pinned: Pin,
    *,
    given: Sequence[str] = (),
    released: str | None = None,
    line: LineBefore | None = None,
) -> Before:
    """Find every release that hosts upgrade from to the pinned one; of the commits `given` the newest is the
    release before, and `released` counts where none is.

    Raises BuildError for a given one that the repository has not (any more), that hosts cannot pull under
    this ref, or that is newer than the pinned one.
    """
    commits = [commit for commit in given if commit != pinned.commit]
    mine = _described(pinned.commit, commit_object(tree, pinned.commit)) if commits else None
    found = [_found(tree, pinned, commit) for commit in commits]
    for release in found:
        if mine is not None and release.timestamp > mine.timestamp:
            raise BuildError(
                f"{KEY}: {release.version or release.commit} ({release.commit}) is newer than this release,"
                f" {mine.version or mine.commit}: no host upgrades from there",
                hint=f"take it out of `{KEY}`, or build what came after it",
            )
    found.sort(key=lambda release: release.timestamp, reverse=True)
    before = release_before(tree, pinned, given=found[0].commit if found else None, released=released)
    last, why_not = _line_before(pinned, line)
    return replace(before, others=_named(pinned, found[1:]), line=last, why_no_line=why_not)


def _found(tree: TreeConfig, pinned: Pin, commit: str) -> _Given:
    data = ostree_server.commit_object(tree.url, commit, patience=patience(tree), access=access_to(tree))
    if data is None:
        raise BuildError(
            f"{KEY}: {tree.url} has no commit {commit} (any more): no host can be upgraded from there",
            hint=f"take it out of `{KEY}`, or bring the commit back (ostree pull-local)",
        )
    refusal = ostree_binding.binding_of(data).reason_to_refuse(pinned.update_ref or pinned.ref)
    if refusal:
        raise BuildError(
            f"{KEY}: hosts cannot pull the commit {commit}: it {refusal}",
            hint="hosts of another line come by publish.previous_major",
        )
    return _described(commit, data)


def _described(commit: str, data: bytes) -> _Given:
    return _Given(
        commit=commit,
        version=ostree_binding.commit_version(data),
        timestamp=ostree_binding.commit_timestamp(data),
    )


def _named(pinned: Pin, found: Sequence[_Given]) -> tuple[Earlier, ...]:
    names = names_of([(release.commit, release.version) for release in found])
    return tuple(
        Earlier(pin=replace(pinned, commit=release.commit), version=release.version, name=name)
        for release, name in zip(found, names, strict=True)
    )


def names_of(releases: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return a name for each release (commit, version) that the name of a cell can end with: of its version,
    and of its commit, too, where two have the same.
    """
    words = [re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-") for _, version in releases]
    return tuple(
        word if word and words.count(word) == 1 else f"{word}-{commit[:8]}".strip("-")
        for (commit, _), word in zip(releases, words, strict=True)
    )


def _line_before(pinned: Pin, line: LineBefore | None) -> tuple[Earlier | None, str | None]:
    """Return the last release of the line before, and why there is none (None: there is one)."""
    if line is not None and line.ref in (pinned.ref, pinned.update_ref):
        raise BuildError(
            f"publish.previous_major is {line.ref}, which is this release line's own ref",
            hint="name the ref of the line before",
        )
    if line is None or line.ref is None:
        return None, "no release line before is configured (publish.previous_major)"
    for url in line.urls:
        place = files.path_of(url)
        commit = Repo(place).refs().get(line.ref) if (place / "config").is_file() else None
        if commit is not None:
            data = _commit_in(place, commit)
            pin = Pin(ref=line.ref, commit=commit)
            return Earlier(pin=pin, version=ostree_binding.commit_version(data), url=url), None
    places = " nor ".join(line.urls)
    if not places:
        return None, f"no repository of this machine is known that has {line.ref} (publish.repo)"
    return None, f"{places} has no ref {line.ref} (publish.previous_major): no host comes from there"


def _commit_in(place: Path, commit: str) -> bytes:
    data = ostree_server.commit_object(files.url(place.absolute()), commit)
    if data is None:
        raise BuildError(
            f"{place} has a ref at the commit {commit}, but no usable commit object of it",
            hint="the repository must be repaired (ostree fsck)",
        )
    return data
