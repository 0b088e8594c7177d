"""What others know of a composer, and what composers have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuild import steplog
from imagebuild.architectures.registry import DEFAULT
from imagebuild.config.fields import Model
from imagebuild.config.tree import TreeConfig

if TYPE_CHECKING:
    from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True, kw_only=True)
class Composed:
    """The head of a ref after composing; `new` says whether it moved."""

    repo: Path
    ref: str
    commit: str
    version: str
    new: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is composed: the next commit of `ref`, in `directory`, for hosts that follow it as `tree` says.

    `arch` is the architecture of the hosts. `cache` is where expensive inputs are kept; `refresh` asks for
    new ones even if they are young.
    """

    directory: Path
    ref: str
    tree: TreeConfig
    cache: Path
    refresh: bool = False
    arch: str = DEFAULT


@dataclass(frozen=True, kw_only=True)
class Composer:
    """A composer: `options` is the model of a configuration's `compose` that has its name as `composer`,
    `compose` is given a job and such options, `tools` are the programs that run.
    """

    name: str
    options: type[ComposerConfig]
    compose: Callable[[Job, Any], Composed]
    tools: tuple[str, ...]


class ComposerConfig(Model):
    """What every composer's options have: its name."""

    composer: str


def history(repo: Repo, commit: str | None) -> Iterator[str]:
    """Yield a commit and its ancestors, as far back as the repository has them."""
    while commit is not None and repo.has(commit):
        yield commit
        commit = repo.parent(commit)


def sign_history(repo: Repo, head: str, fingerprint: str, homedir: Path) -> None:
    """Sign the head unless this key did, and its ancestors up to one that somebody signed: runs that were
    killed left them so.
    """
    # a configuration is read where libostree is not there
    from imagebuild.tools.ostree.signatures import signatures  # noqa: PLC0415

    for commit in history(repo, head):
        if commit != head and signatures(repo.detached_metadata(commit) or b""):
            return
        if repo.sign(commit, fingerprint, homedir):
            steplog.note(f"signed {commit}")
