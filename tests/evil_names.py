"""Names of directories that trip programs, and a repository below each."""

from pathlib import Path

import pytest

from imagebuild.tools import command
from imagebuild.tools.ostree.repository import Repo
from tests.release_lab import REF

NAMES = (
    "feature%2Fx",
    "Nightly Build",
    "a#b?c",
    "50%",
    "%zz;a&b'c\"d",
    "\u00e4\u2028a\\b",
    "{a,b}$HOME`c`",
    "a=b:c,d@@e",
    "(a)<b>|*[c]!",
    "-x ~a+b ",
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a repository with one small commit, to be copied."""
    made = tmp_path_factory.mktemp("origin")
    (made / "tree").mkdir()
    (made / "tree" / "file").write_text("x")
    Repo.ensure(made / "repo")
    commit = command.run(
        ["ostree", f"--repo={made / 'repo'}", "commit", f"--branch={REF}", f"--tree=dir={made / 'tree'}"]
    ).strip()
    return made / "repo", commit
