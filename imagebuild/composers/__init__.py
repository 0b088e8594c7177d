"""Ways to make a tree. A composer takes a configuration and a directory and returns the commit it made, or
found unchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.signatures import signatures


@dataclass(frozen=True, kw_only=True)
class Composed:
    """The head of a ref after composing; `new` says whether it moved."""

    repo: Path
    ref: str
    commit: str
    version: str
    new: bool


def history(repo: Repo, commit: str | None) -> Iterator[str]:
    """Yield a commit and its ancestors, as far back as the repository has them."""
    while commit is not None and repo.has(commit):
        yield commit
        commit = repo.parent(commit)


def sign_history(repo: Repo, head: str, fingerprint: str, homedir: Path) -> None:
    """Sign the head unless this key did, and its ancestors up to one that somebody signed: runs that were
    killed left them so.
    """
    for commit in history(repo, head):
        if commit != head and signatures(repo.detached_metadata(commit) or b""):
            return
        if repo.sign(commit, fingerprint, homedir):
            steplog.note(f"signed {commit}")
