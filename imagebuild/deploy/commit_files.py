"""A commit in a repository as mount points see it (`mount_points.Tree`). Apart from there: the live installer
has no libostree binding.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

from imagebuild.kickstart.mount_points import SMALL
from imagebuild.tools.ostree.commit_reader import CommitEntry
from imagebuild.tools.ostree.repository import Repo


@dataclass(frozen=True)
class CommitFiles:
    """The files of a commit in the repository at a path, which is opened when it is first asked.

    Everything raises BuildError when the repository or an object cannot be read.
    """

    path: Path
    commit: str

    @functools.cached_property
    def _repo(self) -> Repo:
        return Repo(self.path)

    def link(self, path: str) -> str | None:
        """Return what a symbolic link says; None when there is none at that path."""
        entry = self._entry(path)
        return entry.target if entry is not None and entry.is_link else None

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at that path."""
        entry = self._entry(path)
        return entry is not None and entry.is_directory

    def has(self, path: str) -> bool:
        """Whether there is anything at that path."""
        return self._entry(path) is not None

    def content(self, path: str) -> bytes | None:
        """Return a small file's content; None when there is none at that path."""
        return self._repo.read(self.commit, path.lstrip("/"), most=SMALL)

    def listing(self, path: str) -> list[str]:
        """Return the names in a directory, sorted; none when there is no directory at that path."""
        return sorted(self._repo.listing(self.commit, path)) if self.is_directory(path) else []

    def _entry(self, path: str) -> CommitEntry | None:
        return self._repo.find(self.commit, path, follow=False)
