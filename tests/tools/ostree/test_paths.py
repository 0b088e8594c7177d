"""Paths in a commit lead where a kernel would go with the commit as its root; held against the kernel itself
where a test may chroot.
"""

import os
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.ostree.paths import LINKS
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import make_commit

FILES = {
    "usr/share/atomic/atomic": b"atomic",
    "usr/bin/plain": b"plain",
    "usr/lib/sub/deep/file": b"deep",
    "top": b"top",
}
CHAIN = {f"usr/chain/{number}": f"{number + 1}" for number in range(1, 60)}
LINKED = {
    "usr/bin/atomic": "../share/atomic/atomic",
    "usr/bin/absolute": "/usr/bin/plain",
    "usr/bin/dot": "./plain",
    "usr/bin/dots": "././/.././bin/./plain",
    "usr/bin/two": "atomic",
    "usr/bin/three": "/bin/two",
    "usr/bin/above": "../../../../../../top",
    "usr/bin/absolute-above": "/../../top",
    "usr/bin/slash": "plain/",
    "usr/bin/through-file": "plain/../plain",
    "usr/bin/nothing": "not-there",
    "usr/bin/self": "self",
    "usr/bin/ring": "ring2",
    "usr/bin/ring2": "/usr/bin/ring",
    "usr/bin/directory": "../lib/sub",
    "usr/bin/root": "/",
    "bin": "usr/bin",
    "lib": "/usr/lib",
    "lib64": "usr/../lib/sub/deep/..",
    # /etc/os-release of a host, before it is one
    "usr/etc/os-release": "../usr/lib/os-release",
    "usr/chain/60": "../bin/plain",
    **CHAIN,
}
# path -> what is read there
READS = {
    "usr/bin/plain": b"plain",
    "/usr/bin/plain": b"plain",
    "usr/bin/atomic": b"atomic",
    "bin/atomic": b"atomic",
    "usr/bin/absolute": b"plain",
    "usr/bin/dot": b"plain",
    "usr/bin/dots": b"plain",
    "usr/bin/two": b"atomic",
    "bin/three": b"atomic",
    "usr/bin/above": b"top",
    "usr/bin/absolute-above": b"top",
    "../../top": b"top",
    "bin/../share/atomic/atomic": b"atomic",
    "bin/directory/deep/file": b"deep",
    "usr/bin/directory/../sub/deep/file": b"deep",
    "lib/sub/deep/file": b"deep",
    "lib64/deep/file": b"deep",
    "bin/root/bin/root/top": b"top",
    "usr//bin/./plain": b"plain",
    f"usr/chain/{61 - LINKS}": b"plain",
}
LEADS_NOWHERE = (
    "usr/bin/plain/",
    "usr/bin/plain/..",
    "usr/bin/slash",
    "usr/bin/through-file",
    "usr/bin/nothing",
    "usr/bin/self",
    "usr/bin/ring",
    f"usr/chain/{60 - LINKS}",
    "usr/chain/1",
    "usr/etc/os-release",
    "not-there",
    "not-there/../top",
    "top/file",
    "usr/bin/\0",
)
NO_FILES = ("", "/", ".", "usr", "bin", "usr/bin/directory", "usr/bin/root", "..")


@pytest.fixture(scope="module")
def commit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, str]:
    place = tmp_path_factory.mktemp("paths")
    (place / "work").mkdir()
    repo = Repo.ensure(place / "repo")
    return repo, make_commit(repo, place / "work", FILES, links=LINKED)


@pytest.mark.parametrize("path", READS)
def test_each_kind_of_link_is_read_through(commit: tuple[Repo, str], path: str) -> None:
    repo, made = commit
    assert repo.read(made, path) == READS[path]
    assert repo.has_file(made, path)
    entry = repo.find(made, path)
    assert entry is not None
    assert not entry.is_link
    assert repo.read(made, str(entry.path)) == READS[path], "the path without links is another one"


@pytest.mark.parametrize("path", LEADS_NOWHERE)
def test_what_leads_nowhere_is_nothing(commit: tuple[Repo, str], path: str) -> None:
    repo, made = commit
    assert repo.read(made, path) is None
    assert repo.find(made, path) is None
    assert not repo.has_file(made, path)
    assert repo.listing(made, path) == []


@pytest.mark.parametrize("path", NO_FILES)
def test_a_directory_is_no_file(commit: tuple[Repo, str], path: str) -> None:
    repo, made = commit
    assert repo.read(made, path) is None
    entry = repo.find(made, path)
    assert entry is not None
    assert entry.is_directory


def test_listings_follow_links_to_directories(commit: tuple[Repo, str]) -> None:
    repo, made = commit
    assert (
        repo.listing(made, "usr/lib/sub")
        == repo.listing(made, "bin/directory")
        == repo.listing(made, "lib/sub/")
        == ["deep"]
    )
    assert (
        repo.listing(made, "bin")
        == repo.listing(made, "usr/bin")
        == sorted(name[8:] for name in (*FILES, *LINKED) if name.startswith("usr/bin/"))
    )
    assert repo.listing(made, "/") == ["bin", "lib", "lib64", "top", "usr"]


def test_an_entry_may_be_a_link_itself(commit: tuple[Repo, str]) -> None:
    repo, made = commit
    assert (repo.entry(made, "bin/atomic").target, str(repo.entry(made, "bin/atomic").path)) == (
        "../share/atomic/atomic",
        "/usr/bin/atomic",
    )
    assert repo.entry(made, "bin").is_link
    assert repo.entry(made, "bin/").is_directory
    assert repo.entry(made, "usr/bin/ring").is_link
    with pytest.raises(BuildError, match="has no usr/bin/none"):
        repo.entry(made, "usr/bin/none")


@pytest.mark.parametrize("lost", ["usr/lib/sub/deep/file", "usr/lib/sub/deep"])
def test_what_was_lost_is_not_taken_for_nothing(tmp_path: Path, lost: str) -> None:
    (tmp_path / "work").mkdir()
    repo = Repo.ensure(tmp_path / "repo")
    made = make_commit(repo, tmp_path / "work", FILES, links=LINKED)
    entry = repo.entry(made, lost)
    repo.object_path(*((2, entry.tree) if entry.is_directory else (1, entry.checksum))).unlink()
    for ask in (repo.read, repo.find, repo.listing):
        with pytest.raises(BuildError, match="cannot be read"):
            ask(made, "bin/directory/deep/file")
    assert repo.read(made, "bin/plain") == b"plain"


def test_a_beginning_is_read(commit: tuple[Repo, str]) -> None:
    repo, made = commit
    assert [repo.read(made, "bin/atomic", most=most) for most in (0, 3, 100)] == [b"", b"ato", b"atomic"]


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot(2) needs root")
def test_the_kernel_goes_the_same_ways(commit: tuple[Repo, str], tmp_path: Path) -> None:
    repo, made = commit
    command.run(["ostree", f"--repo={repo.path}", "checkout", "--user-mode", made, tmp_path / "root"])
    for path in (*READS, *LEADS_NOWHERE, *NO_FILES):
        if "\0" not in path and path:
            assert kernel_reads(tmp_path / "root", f"/{path}") == repo.read(made, path), path


def kernel_reads(root: Path, path: str) -> bytes | None:
    """Read a file in a child process whose root directory it is."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.chroot(root)
            os.chdir("/")
            handle = os.open(path, os.O_RDONLY)
            os.write(write_end, b"+" + os.read(handle, 1000))
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as stream:  # noqa: PTH123  # a descriptor, not a path
        data = stream.read()
    os.waitpid(child, 0)
    return data[1:] if data else None
