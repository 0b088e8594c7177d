"""Commits that come before or after another one, made only for tests: the same tree with one changed file in /usr.

They lie in a small repository of their own whose parent repository has everything else, so nothing is copied.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import gi

gi.require_version("OSTree", "1.0")
from gi.repository import GLib, OSTree

from imagebuild.errors import BuildError
from imagebuild.tools.ostree import Repo, readable

CHANGED = "/usr/lib/os-release"
# digests and sizes of the whole tree, which is another one now
STALE = ("ostree.composefs", "ostree.sizes")


def beside(path: Path, parent: Path) -> Repo:
    """Make a repository at `path` that finds in the repository `parent` what it does not have itself (ostree.repo-config(5), parent)."""
    made = Repo.ensure(path)
    config = made.handle.copy_config()
    config.set_string("core", "parent", str(parent.absolute()))
    with made.writing(), readable(f"{path} cannot be configured"):
        made.handle.write_config(config)
    return Repo(path)


def relative(repo: Repo, commit: str, *, version: str, parent: str | None, timestamp: int) -> str:
    """Return a new, unsigned commit: `commit` with a line more in its os-release, under another version.

    All other metadata is kept, but for digests of the tree: rpm-ostree reads package lists and bindings of refs from there. Raises BuildError.
    """
    handle = repo.handle
    with readable(f"no relative of {commit} can be made in {repo.path}"), repo.transaction():
        _, old, _ = handle.load_commit(commit)
        tree = OSTree.MutableTree.new_from_commit(handle, commit)
        place = _regular(repo, commit, CHANGED)
        directory = tree
        for name in place.parent.parts[1:]:
            _, directory = directory.ensure_dir(name)
        directory.replace_file(place.name, _changed(repo, commit, place, version))
        _, root = handle.write_mtree(tree, None)
        metadata = _with(old.get_child_value(0), {"version": GLib.Variant("s", version)})
        _, made = handle.write_commit_with_time(parent, f"for a test: {version}", None, metadata, root, timestamp, None)
    return str(made)


def _regular(repo: Repo, commit: str, path: str) -> PurePosixPath:
    """Return where a regular file of a commit really is (os-release is a link in many trees). Raises BuildError."""
    found = repo.find(commit, path)
    if found is None or not found.is_file:
        raise BuildError(f"commit {commit} has no file {path}, nor a link that leads to one")
    return found.path


def _changed(repo: Repo, commit: str, place: PurePosixPath, version: str) -> str:
    """Write the changed file, with owner, mode and extended attributes (SELinux' label) of the old one; return its checksum."""
    entry = repo.entry(commit, str(place))
    _, _, _, xattrs = repo.handle.load_file(entry.checksum, None)
    data = repo.open_file(entry.checksum)[0].readall() + f"IMAGEBUILD_TEST={version}\n".encode()
    found: str = repo.handle.write_regfile_inline(None, entry.uid, entry.gid, entry.mode, xattrs, data, None)
    return found


def _with(metadata: GLib.Variant, changes: Mapping[str, GLib.Variant]) -> GLib.Variant:
    values = {}
    for index in range(metadata.n_children()):
        pair = metadata.get_child_value(index)
        values[pair.get_child_value(0).get_string()] = pair.get_child_value(1).get_variant()
    kept = {name: value for name, value in values.items() if not name.startswith(STALE)}
    return GLib.Variant("a{sv}", kept | dict(changes))
