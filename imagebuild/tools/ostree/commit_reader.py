"""The tree of a commit, read without a checkout: paths followed inside of it, files, directories."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools.ostree import paths
from imagebuild.tools.ostree.library import Gio, readable
from imagebuild.tools.ostree.object_store import ObjectStore

# where a tree has the `atomic` command: a link to ../share/atomic/atomic (atomic 1.19, Makefile, install)
ATOMIC = "usr/bin/atomic"


@dataclass(frozen=True)
class CommitEntry:
    """One path of a commit. `checksum` names the file object (empty for directories), `tree` and `meta` those
    of a directory.
    """

    path: PurePosixPath
    is_directory: bool
    is_link: bool
    target: str
    mode: int
    uid: int
    gid: int
    size: int
    checksum: str
    tree: str = ""
    meta: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return not self.is_directory and not self.is_link


class CommitReader(ObjectStore):
    """A repository whose commits' trees can be read."""

    def _root(self, commit: str) -> Any:
        with readable(f"commit {commit} cannot be read from {self.path}"):
            _, root, _ = self._repo.read_commit(commit, None)
        return root

    def has_atomic(self, commit: str) -> bool:
        """Whether hosts of a commit have the `atomic` command: what changes their releases is then asked of
        it, too.
        """
        return self.has_file(commit, ATOMIC)

    def _resolved(self, commit: str, path: str, *, follow: bool = True) -> paths.Resolved | None:
        root = self._root(commit)
        with readable(f"{path} of commit {commit} cannot be read from {self.path}"):
            return paths.resolve(root, path, follow=follow)

    def listing(self, commit: str, path: str) -> list[str]:
        """Return the names in one directory of a commit, links followed, sorted; empty when there is no such
        directory.
        """
        resolved = self._resolved(commit, path)
        if resolved is None:
            return []
        with readable(f"the directory {path} of commit {commit} cannot be read from {self.path}"):
            if (
                resolved.file.query_file_type(Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None)
                != Gio.FileType.DIRECTORY
            ):
                return []
            children = resolved.file.enumerate_children(
                "standard::name", Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None
            )
            return sorted(info.get_name() for info in children)

    def read(self, commit: str, path: str, *, most: int = -1) -> bytes | None:
        """Return a file's content (`most` bytes of it), links followed inside of the commit; None when it has
        no such regular file.

        Raises BuildError when the file is damaged.
        """
        entry = self.find(commit, path)
        if entry is None or not entry.is_file:
            return None
        return io.BufferedReader(self.open_file(entry.checksum)[0]).read(most)

    def has_file(self, commit: str, path: str) -> bool:
        """Whether a path of a commit leads to a regular file; its content is not read."""
        entry = self.find(commit, path)
        return entry is not None and entry.is_file

    def find(self, commit: str, path: str, *, follow: bool = True) -> CommitEntry | None:
        """Return what a path of a commit leads to, under its path without links; None when it leads to
        nothing.

        Without `follow` that may be a link itself (lstat(2)).
        """
        resolved = self._resolved(commit, path, follow=follow)
        if resolved is None:
            return None
        with readable(f"{path} of commit {commit} cannot be read from {self.path}"):
            return _entry(resolved.path, resolved.file)

    def entry(self, commit: str, path: str) -> CommitEntry:
        """Return what a commit has at a path, which may be a link itself. Raises BuildError when that is
        nothing.
        """
        entry = self.find(commit, path, follow=False)
        if entry is None:
            raise BuildError(
                f"commit {commit} has no {path}",
                hint=f"`ostree --repo={self.path} ls -R {commit}` lists what it has",
            )
        return entry

    def walk(self, commit: str) -> Iterator[CommitEntry]:
        """Yield every path of a commit below `/`, parents first."""
        root = self._root(commit)
        with readable(f"the tree of commit {commit} cannot be read from {self.path}"):
            root.ensure_resolved()
            todo = [(PurePosixPath("/"), root)]
            while todo:
                path, file = todo.pop()
                entry = _entry(path, file)
                yield entry
                if entry.is_directory:
                    children = file.enumerate_children(
                        "standard::name", Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None
                    )
                    names = sorted((info.get_name() for info in children), reverse=True)
                    todo += [(path / name, file.get_child(name)) for name in names]

    def contents(self, commit: str) -> str:
        """Return the checksum of a commit's content: equal for two commits of the same files."""
        root = self._root(commit)
        root.ensure_resolved()
        checksum: str = root.tree_get_contents_checksum()
        return checksum


def _entry(path: PurePosixPath, file: Any) -> CommitEntry:
    info = file.query_info("standard::*,unix::*", Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None)
    directory = info.get_file_type() == Gio.FileType.DIRECTORY
    if directory:
        file.ensure_resolved()
    return CommitEntry(
        path=path,
        is_directory=directory,
        is_link=info.get_is_symlink(),
        target=info.get_symlink_target() if info.get_is_symlink() else "",
        mode=info.get_attribute_uint32("unix::mode"),
        uid=info.get_attribute_uint32("unix::uid"),
        gid=info.get_attribute_uint32("unix::gid"),
        size=info.get_size(),
        checksum="" if directory else file.get_checksum(),
        tree=file.tree_get_contents_checksum() if directory else "",
        meta=file.tree_get_metadata_checksum() if directory else "",
    )
