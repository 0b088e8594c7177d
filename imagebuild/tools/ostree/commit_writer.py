"""Commits are made: archives and directories are staged, changed there, and committed to a ref."""

import posixpath
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from imagebuild.tools.ostree.commit_reader import CommitReader
from imagebuild.tools.ostree.library import Gio, GLib, OSTree, readable


@dataclass(frozen=True)
class Staged:
    """Files written into a repository and not committed yet; `contents` is their checksum."""

    mtree: Any
    contents: str


class CommitWriter(CommitReader):
    """A repository into which commits can be written."""

    def commit_tree(self, tar: Path, overlays: Sequence[Path]) -> "Staged":
        """Write a tar archive, then directories over it, into the repository; return what can be
        committed.
        """
        mtree = OSTree.MutableTree.new()
        with readable(f"{tar} cannot be written into {self.path}"), self.transaction():
            self._repo.write_archive_to_mtree(Gio.File.new_for_path(str(tar)), mtree, None, True, None)
            root = self._add(mtree, overlays)
        return Staged(mtree, root.tree_get_contents_checksum())

    def overlay(self, staged: "Staged", overlays: Sequence[Path]) -> "Staged":
        """Write more directories over a staged tree (files of the same name are replaced)."""
        with readable(f"cannot write into {self.path}"), self.transaction():
            root = self._add(staged.mtree, overlays)
        return Staged(staged.mtree, root.tree_get_contents_checksum())

    def without(self, staged: "Staged", paths: Iterable[str], replaced: Mapping[str, bytes]) -> "Staged":
        """Return a staged tree less some files, with others' content replaced; `staged` itself stays as it
        is. Raises BuildError.

        Paths are relative to the root of the tree; directories and what is not there are passed over. Nothing
        that stays is written again.
        """
        with readable(f"no part of a tree can be taken in {self.path}"), self.transaction():
            _, root = self._repo.write_mtree(staged.mtree, None)
            whole = (root.tree_get_contents_checksum(), root.tree_get_metadata_checksum())
            tree = OSTree.MutableTree.new_from_checksum(self._repo, *whole)
            for path in paths:
                directory = _directory_of(tree, path)
                if directory is not None and posixpath.basename(path) in directory.get_files():
                    directory.remove(posixpath.basename(path), False)
            for path, data in replaced.items():
                directory = _directory_of(tree, path)
                assert directory is not None, path
                written = self._repo.write_regfile_inline(None, 0, 0, stat.S_IFREG | 0o644, None, data, None)
                directory.replace_file(posixpath.basename(path), written)
            _, root = self._repo.write_mtree(tree, None)
        return Staged(tree, root.tree_get_contents_checksum())

    def staged_names(self, staged: "Staged", directory: str) -> list[str]:
        """Return the names of files and links in one directory of a staged tree, sorted; empty when there is
        no such directory.
        """
        there = _directory_of(staged.mtree, f"{directory}/.")
        return sorted(there.get_files()) if there is not None else []

    def staged_file(self, staged: "Staged", path: str) -> bytes | None:
        """Return the content of a file of a staged tree; None when it has none at that path."""
        directory = _directory_of(staged.mtree, path)
        checksum = directory.get_files().get(posixpath.basename(path)) if directory is not None else None
        return self.open_file(checksum)[0].readall() if checksum is not None else None

    def _add(self, mtree: Any, overlays: Sequence[Path]) -> Any:
        modifier = OSTree.RepoCommitModifier.new(
            OSTree.RepoCommitModifierFlags.CANONICAL_PERMISSIONS, None, None
        )
        for overlay in overlays:
            self._repo.write_directory_to_mtree(Gio.File.new_for_path(str(overlay)), mtree, modifier, None)
        _, root = self._repo.write_mtree(mtree, None)
        return root

    def commit(
        self,
        staged: "Staged",
        ref: str,
        *,
        parent: str | None,
        metadata: Mapping[str, str],
        subject: str,
        timestamp: int,
    ) -> str:
        """Commit a staged tree to a ref and return the new commit."""
        values = GLib.Variant("a{sv}", {key: GLib.Variant("s", value) for key, value in metadata.items()})
        with readable(f"cannot commit into {self.path}"), self.transaction():
            _, root = self._repo.write_mtree(staged.mtree, None)
            _, commit = self._repo.write_commit_with_time(
                parent, subject, None, values, root, timestamp, None
            )
            self._repo.transaction_set_ref(None, ref, commit)
        found: str = commit
        return found


def _directory_of(tree: Any, path: str) -> Any:
    """Return the directory of a mutable tree in which a path lies; None when there is none."""
    directory = tree
    for part in PurePosixPath(posixpath.dirname(path)).parts:
        directory = directory.get_subdirs().get(part)
        if directory is None:
            return None
    return directory
