"""Commits that come before or after another one, made only for tests: the same tree with one changed file in
/usr, and another initramfs.

They lie in a small repository of their own whose parent repository has everything else, so nothing is copied.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import gi

gi.require_version("OSTree", "1.0")
from imagebuild.errors import BuildError
from imagebuild.tools import initramfs
from imagebuild.tools.ostree.binding import REFS
from imagebuild.tools.ostree.commit_reader import CommitEntry
from imagebuild.tools.ostree.library import GLib, OSTree, readable
from imagebuild.tools.ostree.repository import Repo

CHANGED = "/usr/lib/os-release"
# digests and sizes of the whole tree, which is another one now
STALE = ("ostree.composefs", "ostree.sizes")
# where libostree looks for kernels: in MODULES the first name of an initramfs, and in the first of
# CHECKSUMMED that there is, whose names end with what tells one kernel and initramfs from another. Before
# 2017.11 only the latter; since then the former, if it has an initramfs (libostree 2016.15 and 2022.7,
# ostree-sysroot-deploy.c, get_kernel_from_tree)
MODULES, INITRAMFS = "/usr/lib/modules", ("initramfs.img", "initramfs")
CHECKSUMMED = ("/usr/lib/ostree-boot", "/boot")
KERNEL_FILE = re.compile(r"((vmlinuz|initramfs|devicetree)-.+-)[0-9a-f]{64}")
DRACUT = "/usr/lib/dracut"


def beside(path: Path, parent: Path) -> Repo:
    """Make a repository at `path` that finds in the repository `parent` what it does not have itself
    (ostree.repo-config(5), parent).
    """
    made = Repo.ensure(path)
    config = made.handle.copy_config()
    config.set_string("core", "parent", str(parent.absolute()))
    with made.writing(), readable(f"{path} cannot be configured"):
        made.handle.write_config(config)
    return Repo(path)


def relative(
    repo: Repo,
    commit: str,
    *,
    version: str,
    parent: str | None,
    timestamp: int,
    mark: str = "",
    ref: str = "",
    added: Mapping[str, bytes] | None = None,
    removed: Sequence[str] = (),
) -> tuple[str, bool]:
    """Return a new, unsigned commit: `commit` with a line more in its os-release, under another version; and
    whether it has the mark.

    With a `mark` (a word) it has an initramfs of its own, which leaves it on the running host
    (`initramfs.marked`), so that a host that is upgraded has another kernel to write and to boot; without
    dracut in the tree nobody knows how, and it is left as it is. All other metadata is kept, but for digests
    of the tree: rpm-ostree reads package lists from there. What is bound to refs is bound to `ref` (empty:
    nothing more), under which the test serves it. `added` and `removed` are regular files by path: a release
    that is broken. Raises BuildError.
    """
    handle = repo.handle
    with readable(f"no relative of {commit} can be made in {repo.path}"), repo.transaction():
        _, old, _ = handle.load_commit(commit)
        tree = OSTree.MutableTree.new_from_commit(handle, commit)
        _add_line(repo, commit, tree, f"IMAGEBUILD_TEST={version}\n")
        has_mark = bool(mark) and _mark(repo, commit, tree, mark)
        _change(repo, commit, tree, added or {}, removed)
        _, root = handle.write_mtree(tree, None)
        metadata = _with(
            old.get_child_value(0),
            {"version": GLib.Variant("s", version)} | _bound_to(old.get_child_value(0), ref),
        )
        _, made = handle.write_commit_with_time(
            parent, f"for a test: {version}", None, metadata, root, timestamp, None
        )
    return str(made), has_mark


def _add_line(repo: Repo, commit: str, tree: Any, line: str) -> None:
    release = _regular(repo, commit, CHANGED)
    text = _content(repo, release) + line.encode()
    _directory(tree, release.path.parent).replace_file(release.path.name, _written(repo, release, text))


def _change(repo: Repo, commit: str, tree: Any, added: Mapping[str, bytes], removed: Sequence[str]) -> None:
    like = _regular(repo, commit, CHANGED)
    for path, data in added.items():
        place = PurePosixPath(path)
        _directory(tree, place.parent).replace_file(place.name, _written(repo, like, data))
    for path in removed:
        place = _regular(repo, commit, path).path
        _directory(tree, place.parent).remove(place.name, False)


def _mark(repo: Repo, commit: str, tree: Any, mark: str) -> bool:
    """Give a tree an initramfs with a mark, in each layout of it that the tree has; return whether it has
    any.
    """
    if not repo.listing(commit, DRACUT):
        return False
    marked = False
    for version in repo.listing(commit, MODULES):
        directory = f"{MODULES}/{version}"
        names = repo.listing(commit, directory)
        name = next((initramfs for initramfs in INITRAMFS if initramfs in names), None)
        if name is not None and "vmlinuz" in names:
            entry = _regular(repo, commit, f"{directory}/{name}")
            _directory(tree, entry.path.parent).replace_file(
                entry.path.name, _written(repo, entry, _marked(repo, entry, mark))
            )
            marked = True
    return _mark_checksummed(repo, commit, tree, mark) or marked


def _mark_checksummed(repo: Repo, commit: str, tree: Any, mark: str) -> bool:
    """The same where kernel and initramfs have the checksum of both at the end of their names: another
    initramfs changes all names.
    """
    layout = next(
        (path for path in CHECKSUMMED if any(map(KERNEL_FILE.fullmatch, repo.listing(commit, path)))), None
    )
    if layout is None:
        return False
    old = {
        match[2]: match
        for match in map(KERNEL_FILE.fullmatch, repo.listing(commit, layout))
        if match is not None
    }
    if not {"vmlinuz", "initramfs"} <= old.keys():
        return False
    entries = {kind: _regular(repo, commit, f"{layout}/{match[0]}") for kind, match in old.items()}
    changed = _marked(repo, entries["initramfs"], mark)
    # rpm-ostree 2018.7, src/libpriv/rpmostree-kernel.c: of the kernel, then of the initramfs
    checksum = hashlib.sha256(_content(repo, entries["vmlinuz"]) + changed).hexdigest()
    directory = _directory(tree, PurePosixPath(layout))
    for kind, match in old.items():
        directory.remove(match[0], False)
        directory.replace_file(
            match[1] + checksum,
            _written(repo, entries[kind], changed) if kind == "initramfs" else entries[kind].checksum,
        )
    return True


def _marked(repo: Repo, entry: CommitEntry, mark: str) -> bytes:
    return initramfs.marked(_content(repo, entry), mark)


def _directory(tree: Any, path: PurePosixPath) -> Any:
    for name in path.parts[1:]:
        _, tree = tree.ensure_dir(name)
    return tree


def _regular(repo: Repo, commit: str, path: str) -> CommitEntry:
    """Follow symbolic links to a regular file of a commit (os-release is a link in many trees). Raises
    BuildError.
    """
    entry = repo.find(commit, path)
    if entry is None or not entry.is_file:
        raise BuildError(f"commit {commit} has no file {path}, nor a link that leads to one")
    return entry


def _content(repo: Repo, entry: CommitEntry) -> bytes:
    return repo.open_file(entry.checksum)[0].readall()


def _written(repo: Repo, entry: CommitEntry, data: bytes) -> str:
    """Write a changed file, with owner, mode and extended attributes (SELinux' label) of the old one; return
    its checksum.
    """
    _, _, _, xattrs = repo.handle.load_file(entry.checksum, None)
    name: str = repo.handle.write_regfile_inline(None, entry.uid, entry.gid, entry.mode, xattrs, data, None)
    return name


def _bound_to(metadata: GLib.Variant, ref: str) -> dict[str, GLib.Variant]:
    bound = metadata.lookup_value(REFS, GLib.VariantType("as"))
    return {REFS: GLib.Variant("as", sorted({*bound.unpack(), ref} - {""}))} if bound is not None else {}


def _with(metadata: GLib.Variant, changes: Mapping[str, GLib.Variant]) -> GLib.Variant:
    values = {}
    for index in range(metadata.n_children()):
        pair = metadata.get_child_value(index)
        values[pair.get_child_value(0).get_string()] = pair.get_child_value(1).get_variant()
    kept = {name: value for name, value in values.items() if not name.startswith(STALE)}
    return GLib.Variant("a{sv}", kept | dict(changes))
