"""The stable repository: what hosts pull from, and what a promotion changes in it."""

from contextlib import AbstractContextManager
from pathlib import Path

from imagebuild import files
from imagebuild.errors import BuildError
from imagebuild.publish import facts, marks
from imagebuild.publish.admission import Promotion
from imagebuild.publish.facts import Facts
from imagebuild.release_line.model import Config
from imagebuild.tools.ostree import deltas, history
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.repository import Repo


def stable_ref(config: Config, ref: str) -> str:
    """Return the ref that hosts follow, and that promotion moves."""
    return config.stable_ref(ref)


def last_commit(config: Config, output: Path, ref: str, *, but: str) -> str | None:
    """Return the commit that hosts upgrade from to `but`: where the stable ref is; None for the first
    release.

    When it is there already, or nothing was promoted yet: what the release of `but` says; for a commit that
    was not released yet, that of the last release that is not marked bad (of a nightly only when there is no
    other).
    """
    directory = files.path_of(config.publish.repo) if config.publish.repo is not None else None
    now = (
        Repo(directory).refs().get(stable_ref(config, ref))
        if directory is not None and (directory / "config").is_file()
        else None
    )
    if now not in (None, but):
        return now
    releases = facts.history(output, ref)
    mine = [release.previous for release in releases if release.tree.commit == but]
    if mine:
        return mine[-1].commit if mine[-1] is not None else None
    good = sorted(marks.unmarked(output, releases), key=lambda release: not release.nightly)
    return good[-1].tree.commit if good else None


def open_stable(config: Config) -> Repo:
    """Return the stable repository, made if needed. Raises BuildError when none is configured."""
    if config.publish.repo is None:
        raise BuildError(
            "there is no stable repository",
            hint="name it in the configuration: publish: {repo: file:///PATH}",
        )
    return Repo.ensure(files.path_of(config.publish.repo))


def lock(stable: Repo) -> AbstractContextManager[None]:
    """One promotion at a time: a second one is refused, not queued."""
    return files.locked(
        stable.path / ".imagebuild-promotion", busy=f"another promotion is at work in {stable.path}"
    )


def check_ref(stable: Repo, config: Config, release: Facts) -> None:
    """Refuse when the ref is neither where the release was compared with, nor where it goes."""
    ref = stable_ref(config, release.ref)
    now = stable.refs().get(ref)
    before = release.previous.commit if release.previous is not None else None
    if now not in (before, release.tree.commit, None):
        raise BuildError(
            f"{ref} is at {now}, but {release.compose_id} was made for hosts that come from"
            f" {before or 'nothing'}: it moved meanwhile",
            hint=(
                "build and test again: imagebuild all, with `previous:` or the output directory of that"
                " release"
            ),
        )


def check_source(stable: Repo, wanted: Promotion, release: Facts) -> None:
    """Raise BuildError when nobody here has the commit of a release: before anything is uploaded."""
    commit = release.tree.commit
    if not stable.has(commit) and not Repo(wanted.source).has(commit):
        raise BuildError(
            f"the commit {commit} of {release.compose_id}, {release.arch}, is neither in {stable.path} nor in"
            f" {wanted.source}",
            hint="promote it where it was built, or let this machine build it (imagebuild all pulls it)",
        )


def bring(stable: Repo, wanted: Promotion, release: Facts) -> None:
    """Pull the commit of a release, the one that hosts come from, and the history between them."""
    if not stable.has(release.tree.commit):
        tree = wanted.line_of(release).tree
        stable.pull(
            Remote(
                url=files.url(wanted.source),
                keys=tuple(Path(key) for key in tree.gpg_keys),
                verify=not tree.allow_unsigned,
            ),
            release.tree.commit,
        )
    before = release.previous
    if before is not None and not stable.has(before.commit) and Repo(wanted.source).has(before.commit):
        stable.pull(Remote(url=files.url(wanted.source), keys=(), verify=False), before.commit)
    if before is not None:
        _bring_history(stable, wanted, release.tree.commit, before.commit)


def _bring_history(stable: Repo, wanted: Promotion, commit: str, before: str) -> None:
    """Bring the commit objects between two releases: hosts find the older one by walking from parent to
    parent.
    """
    source = Repo(wanted.source)
    between, end = history.between(history.parents(source), commit, before)
    for parent in between if end is None else ():
        if not stable.has_commit_object(parent):
            stable.pull(
                Remote(url=files.url(wanted.source), keys=(), verify=False, commits_only=True), parent
            )


def delta_bases(stable: Repo, config: Config, release: Facts) -> list[str]:
    """Return the commits from which hosts get a delta: of the release before, and the last of the release
    line before.
    """
    before = release.previous.commit if release.previous is not None else None
    major = (
        stable.refs().get(config.publish.previous_major)
        if config.publish.previous_major is not None
        else None
    )
    return [
        commit
        for commit in dict.fromkeys((before, major))
        if commit is not None and commit != release.tree.commit and stable.has(commit)
    ]


def bring_delta(stable: Repo, wanted: Promotion, base: str, commit: str) -> bool:
    """Bring the static delta that was tested, or make one where the source has none (any more); return
    whether it is there only now.
    """
    source = Repo(wanted.source)
    if (base, commit) in stable.deltas():
        return False
    if (base, commit) in source.deltas():
        deltas.put_one(stable, source, base, commit)
        return True
    return stable.make_delta(base, commit)
