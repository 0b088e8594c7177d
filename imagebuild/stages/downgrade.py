"""A ref that points at an older commit than before: whoever stands between, or a mirror that lags, can replay
an old summary and an old ref, whose signatures are good for ever.

Hosts refuse such an upgrade by the commits' times (ostree-sysroot-upgrader.c, 2022.7:
ostree_sysroot_upgrader_check_timestamps), and so does a pipeline that remembers what it has seen.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.stages.tree import Pin, commit_object, patience
from imagebuild.tools.access import access_to
from imagebuild.tools.ostree import binding as ostree_binding
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Commits that a ref is known to have had (commit -> what is known of it), and the repository of this
    machine that may still have them.
    """

    commits: Mapping[str, str]
    repo: Path


def seen(repo: Path, ref: str, released: str | None) -> Seen:
    """Return what is known of a ref: the commit that was pulled last, and the one that was released last."""
    pulled = Repo(repo).refs().get(ref) if (repo / "config").is_file() else None
    known = {commit: why for commit, why in ((pulled, "pulled"), (released, "released")) if commit}
    return Seen(commits=known, repo=repo)


def newer_than(tree: TreeConfig, pinned: Pin, known: Seen, say: Callable[[str], None]) -> frozenset[str]:
    """Return the commits that are known and newer than the pinned one: no host goes from there to it.

    Raises BuildError when there are any, and `tree.allow_downgrade` does not say that this is meant; what a
    commit that nobody has any more would say is not asked.
    """
    mine = ostree_binding.commit_timestamp(commit_object(tree, pinned.commit))
    times = {commit: _time(tree, commit, known.repo) for commit in known.commits if commit != pinned.commit}
    newer = {commit: made for commit, made in times.items() if made is not None and made > mine}
    for commit, made in newer.items():
        told = (
            f"{pinned.ref} of {tree.url} is the commit {pinned.commit} of {_day(mine)} now, which is older"
            f" than {commit} of {_day(made)}, which was {known.commits[commit]} before"
        )
        if not tree.allow_downgrade:
            raise BuildError(
                f"{told}: somebody may have replayed an old summary or ref",
                hint="ask who keeps the repository; when it was set back on purpose, set"
                " tree.allow_downgrade: true",
            )
        say(f"{told} (tree.allow_downgrade)")
    return frozenset(newer)


def _time(tree: TreeConfig, commit: str, repo: Path) -> int | None:
    own = ostree_server.commit_object(files.url(repo), commit) if repo.is_dir() else None
    data = own or ostree_server.commit_object(
        tree.url, commit, patience=patience(tree), access=access_to(tree)
    )
    return ostree_binding.commit_timestamp(data) if data is not None else None


def _day(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(seconds, 253402300799)))
