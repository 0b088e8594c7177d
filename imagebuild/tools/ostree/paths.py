"""Paths inside of a commit, followed as a kernel would follow them with the commit as its root directory."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from imagebuild.tools.ostree.library import Gio

# include/linux/namei.h, MAXSYMLINKS: a path that leads through more links is refused (ELOOP)
LINKS = 40


@dataclass(frozen=True)
class Resolved:
    """What a path leads to: libostree's file (an OSTree.RepoFile), and its path without links."""

    file: Any
    path: PurePosixPath


def resolve(root: Any, path: str, *, follow: bool = True) -> Resolved | None:
    """Return what a path of a commit leads to; None when nothing is there, or links lead in a circle.

    Absolute links begin at the commit's root directory, and `..` does not leave it. Without `follow` the last
    name of the path may be a link itself (lstat(2)). Raises GLib.Error when an object that the path leads
    through cannot be read.
    """
    if "\0" in path:
        return None
    walk = _Walk(root, path.split("/")[::-1])
    while walk.todo:
        if not walk.step(follow=follow):
            return None
    return Resolved(walk.files[-1], PurePosixPath("/", *walk.names))


@dataclass
class _Walk:
    """A path that is followed: the names still to come (the next one last), and where it has led to."""

    root: Any
    todo: list[str]
    names: list[str] = field(default_factory=list)
    files: list[Any] = field(default_factory=list)
    on_directory: bool = True
    links: int = 0

    def __post_init__(self) -> None:
        self.files.append(self.root)

    def step(self, *, follow: bool) -> bool:
        """Take the next name; return whether that led anywhere."""
        name = self.todo.pop()
        if not self.on_directory:
            return False
        if name == ".." and self.names:
            self.names.pop()
            self.files.pop()
        return name in ("", ".", "..") or self._enter(name, follow=follow)

    def _enter(self, name: str, *, follow: bool) -> bool:
        directory = self.files[-1]
        directory.ensure_resolved()
        # asked of the directory: a file's own answer is the same for a name that is not there, and for an
        # object that was lost
        if directory.tree_find_child(name)[0] < 0:
            return False
        file = directory.get_child(name)
        info = file.query_info("standard::*", Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None)
        if info.get_is_symlink() and (follow or self.todo):
            return self._follow(info.get_symlink_target() or "")
        self.on_directory = info.get_file_type() == Gio.FileType.DIRECTORY
        self.names.append(name)
        self.files.append(file)
        return True

    def _follow(self, target: str) -> bool:
        self.links += 1
        if target.startswith("/"):
            self.names, self.files = [], [self.root]
        self.todo += target.split("/")[::-1]
        return bool(target) and self.links <= LINKS
