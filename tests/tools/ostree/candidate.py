"""A candidate for a release, in a repository as a compose makes them."""

import tarfile
from pathlib import Path

import pytest

from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import FILES, REF, make_commit


@pytest.fixture
def candidate(tmp_path: Path) -> tuple[Path, str]:
    """A repository with one commit, whose os-release is a link, as in Fedora's atomic trees."""
    repo = Repo.ensure(tmp_path / "source")
    work = tmp_path / "tar"
    work.mkdir()
    commit = make_commit(repo, work, FILES)
    archive = work / "linked.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("usr/lib/os.release.d/os-release-atomichost", "usr/share/data"):
            (work / "file").write_bytes(b"ID=test\n")
            tar.add(work / "file", name)
        link = tarfile.TarInfo("usr/lib/os-release")
        link.type, link.linkname, link.mode = tarfile.SYMTYPE, "os.release.d/os-release-atomichost", 0o777
        tar.addfile(link)
    staged = repo.commit_tree(archive, [])
    metadata = {"version": "1.2", "rpmostree.inputhash": "x", "ostree.composefs.digest.v0": "stale"}
    second = repo.commit(
        staged, REF, parent=commit, metadata=metadata, subject="linked", timestamp=1_700_000_100
    )
    return tmp_path / "source", second
