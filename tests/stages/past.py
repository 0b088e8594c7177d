"""A repository with a history."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.tools.ostree import succession
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import FILES, make_commit


@dataclass(frozen=True)
class Past:
    """A repository with four releases of one ref, the oldest first."""

    place: Path
    commits: tuple[str, ...]

    @property
    def tree(self) -> TreeConfig:
        """Where they are pulled from."""
        return TreeConfig(
            url=f"file://{self.place}",
            allow_unsigned=True,
            osname="o",
            remote="r",
            update_url="https://example.org/x",
            update_gpg_key="/usr/x",
        )


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """The repository, and its commits."""
    repo = Repo.ensure(tmp_path / "source")
    (tmp_path / "work").mkdir()
    commits = [make_commit(repo, tmp_path / "work", FILES)]
    start = repo.timestamp(commits[0])
    for number in range(1, 4):
        made, _ = succession.relative(
            repo, commits[-1], version=f"12.{number}", parent=commits[-1], timestamp=start + number
        )
        commits.append(made)
    return Past(repo.path, tuple(commits))
