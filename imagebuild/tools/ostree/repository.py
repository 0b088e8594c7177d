"""The only place that speaks to libostree (GObject introspection, OSTree-1.0).

A `Repo` is an OSTree repository on this host. Checksums are 64 lower-case hexadecimal digits everywhere.
"""

import contextlib
import contextvars
import hashlib
import io
import posixpath
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import gi

gi.require_version("OSTree", "1.0")
from gi.repository import Gio, GLib, OSTree  # the version must be named before the import

from imagebuild import files, steplog  # after gi's
from imagebuild.errors import BuildError  # after gi's
from imagebuild.tools import command, gpg, temporary  # after gi's
from imagebuild.tools.access import DIRECT, Access  # after gi's
from imagebuild.tools.ostree import damage as ostree_damage  # after gi's
from imagebuild.tools.ostree import paths as ostree_paths
from imagebuild.tools.ostree import server as ostree_server
from imagebuild.tools.ostree import writer as ostree_writer
from imagebuild.tools.ostree.server import OBJECT_SUFFIX, PATIENT, Patience, TransferError  # after gi's

WATCH_SECONDS = 1.0
DELTA_INDEXES = "delta-indexes"
# where a tree has the `atomic` command: a link to ../share/atomic/atomic (atomic 1.19, Makefile, install)
ATOMIC = "usr/bin/atomic"


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Where commits come from and which keys sign them. Without keys nothing is verified: the caller must
    have been told so.

    `commits_only`: nothing of their trees is pulled, only what those need who walk a history.
    """

    url: str
    keys: tuple[Path, ...]
    verify: bool
    commits_only: bool = False
    access: Access = DIRECT


@dataclass(frozen=True)
class Entry:
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


class Repo:
    """An OSTree repository on this host."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repo = OSTree.Repo.new(Gio.File.new_for_path(str(path)))
        with readable(f"the OSTree repository {path} cannot be opened"):
            self._repo.open(None)

    @classmethod
    def ensure(cls, path: Path, mode: str = "archive") -> "Repo":
        """Open a repository, made now if it is not there, or not whole: by one of several at once."""
        # what is made last (libostree 2022.7, ostree-repo.c, repo_create_at_internal: config comes first)
        if not (path / "objects").is_dir():
            path.mkdir(parents=True, exist_ok=True)
            repo = OSTree.Repo.new(Gio.File.new_for_path(str(path)))
            wanted = getattr(OSTree.RepoMode, mode.replace("-", "_").upper())
            with ostree_writer.writing(path), readable(f"the OSTree repository {path} cannot be made"):
                repo.create(wanted, None)
        return cls(path)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Be the only writer of this repository for the length of the block; whoever writes here is by
        itself, for programs it must be said.
        """
        return ostree_writer.writing(self.path)

    @property
    def handle(self) -> Any:
        """libostree's own object, for the modules beside this one."""
        return self._repo

    @property
    def mode(self) -> str:
        """How the repository keeps its objects: archive, bare, bare-user …"""
        return str(self._repo.get_mode().value_nick).replace("_", "-").replace("archive-z2", "archive")

    @property
    def collection_id(self) -> str:
        """The id of the collection that this repository is one of; empty when it has none."""
        return str(self._repo.get_collection_id() or "")

    # --- refs -----------------------------------------------------------------------------------------------

    def refs(self) -> dict[str, str]:
        """Return every ref of this repository and its commit."""
        ok, found = self._repo.list_refs(None, None)
        assert ok
        return dict(found)

    def set_ref(self, ref: str, commit: str | None) -> None:
        """Point a ref at a commit; None removes it."""
        with self.writing(), readable(f"the ref {ref} cannot be set in {self.path}"):
            self._repo.set_ref_immediate(None, ref, commit, None)

    def update_summary(self, *, key: str | None = None, homedir: Path | None = None) -> bool:
        """Write the summary file, from which clients learn refs and static deltas; return whether it was
        written now.

        With a key (of a GnuPG home directory) it is signed, made elsewhere and put in its place together with
        its signature: the two are never apart for longer than two renames take. One that says the same and is
        signed by this key stays.
        """
        if key is None:
            with self.writing(), readable(f"the summary of {self.path} cannot be written"):
                self._repo.regenerate_summary(None, None)
            return True
        where = [f"--gpg-homedir={homedir}"] if homedir is not None else []
        names = ("summary", "summary.sig")
        # ostree(1) writes the deltas' indexes along with the summary: into this repository, too
        (self.path / DELTA_INDEXES).mkdir(exist_ok=True)
        with self.writing(), self.view() as copy:
            command.run(["ostree", f"--repo={copy.path}", "summary", "--update", f"--gpg-sign={key}", *where])
            old, new = ([place / name for name in names] for place in (self.path, copy.path))
            same = all(file.is_file() for file in old) and _said_by(old[0]) == _said_by(new[0])
            if same and _is_signed(old[0], signatures(old[1].read_bytes()), key, homedir):
                return False
            ready = [self.path / f".{name}.new" for name in names]
            for file, target in zip(new, ready, strict=True):
                files.replace(target, file.read_bytes())
            for file, target in zip(ready, old, strict=True):
                file.replace(target)
        return True

    @contextlib.contextmanager
    def view(self) -> Iterator["Repo"]:
        """Yield another repository that has the objects and deltas of this one, and refs that can be moved
        without moving those.
        """
        with temporary.directory("repo") as work:
            place = work / "repo"
            place.mkdir()
            shutil.copyfile(self.path / "config", place / "config")
            shutil.copytree(self.path / "refs", place / "refs")
            for name in ("objects", "deltas", DELTA_INDEXES):
                if (self.path / name).is_dir():
                    (place / name).symlink_to((self.path / name).absolute())
            for name in ("tmp", "state", "extensions"):
                (place / name).mkdir()
            yield Repo(place)

    def make_delta(self, old: str, new: str) -> bool:
        """Make a static delta between two commits, unless it is there; return whether it was made now."""
        with readable(f"the static deltas of {self.path} cannot be read"):
            _, names = self._repo.list_static_delta_names(None)
        if f"{old}-{new}" in names:
            return False
        with self.writing():
            command.run(
                ["ostree", f"--repo={self.path}", "static-delta", "generate", f"--from={old}", f"--to={new}"]
            )
        return True

    def prune(self, *, depth: int, really: bool) -> tuple[int, int]:
        """Remove objects that no ref needs (`depth` commits of each ref's history are needed); return how
        many go, and their bytes.
        """
        flags = OSTree.RepoPruneFlags.REFS_ONLY | (
            OSTree.RepoPruneFlags.NONE if really else OSTree.RepoPruneFlags.NO_PRUNE
        )
        with self.writing(), readable(f"{self.path} cannot be pruned"):
            _, _, count, size = self._repo.prune(flags, depth - 1, None)
        return int(count), int(size)

    # --- pull -----------------------------------------------------------------------------------------------

    def pull(
        self,
        remote: Remote,
        commit: str,
        *,
        patience: Patience = PATIENT,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Pull exactly one commit (no history) and verify its signature and the checksum of every object.

        What an interrupted pull left is used. Raises BuildError naming the object or the server.
        """
        name = "source-" + hashlib.sha256(f"{remote}".encode()).hexdigest()[:16]
        with self.writing():
            self._set_remote(name, remote)
            if remote.commits_only:
                self._pull_patiently(name, remote, commit, patience, progress, deltas=False)
                if remote.verify:
                    self.verify(commit, name)
                return
            # a delta builds upon other commits that are here, and nobody knows whether those are whole
            deltas = not self._forget_damage(commit)
            try:
                self._pull_patiently(name, remote, commit, patience, progress, deltas=deltas)
            except BuildError:
                if not self._forget_damaged_metadata():
                    raise
                self._pull_patiently(name, remote, commit, patience, progress, deltas=False)
            if remote.verify:
                self.verify(commit, name)
            if self._forget_damage(commit):
                self._pull_patiently(name, remote, commit, patience, progress, deltas=False)
                self._check_whole(commit)

    def _pull_patiently(
        self,
        name: str,
        remote: Remote,
        commit: str,
        patience: Patience,
        progress: Callable[[str], None],
        *,
        deltas: bool,
    ) -> None:
        for attempt in range(1, patience.attempts + 1):
            try:
                self._pull_once(name, remote, commit, patience, progress, deltas=deltas)
            except TransferError as error:
                if attempt == patience.attempts:
                    raise self._diagnosed(error, remote, commit, patience) from error
                pause = patience.pause * 2 ** (attempt - 1)
                steplog.note(
                    f"attempt {attempt} of {patience.attempts} failed: {error.message}; again in"
                    f" {pause:.0f} s"
                )
                time.sleep(pause)
            except BuildError as error:
                raise self._diagnosed(error, remote, commit, patience) from error
            else:
                break

    def _set_remote(self, name: str, remote: Remote) -> None:
        reached = {name: GLib.Variant("s", value) for name, value in remote.access.options().items()}
        verified = {
            "gpg-verify": GLib.Variant("b", remote.verify),
            "gpg-verify-summary": GLib.Variant("b", False),
        }
        options = GLib.Variant("a{sv}", verified | reached)
        with readable(f"the remote {remote.url} cannot be configured"):
            # another handle may have written the configuration since this one read it
            self._repo.reload_config(None)
            self._repo.remote_change(None, OSTree.RepoRemoteChange.DELETE_IF_EXISTS, name, None, None, None)
            self._repo.remote_add(name, _as_libostree_reads(remote.url), options, None)
        for key in remote.keys:
            try:
                stream = Gio.File.new_for_path(str(key)).read(None)
                _, imported = self._repo.remote_gpg_import(name, stream, None, None)
            except GLib.Error as error:
                raise BuildError(
                    f"the signing key {key} cannot be read: {error.message}", hint="check tree.gpg_keys"
                ) from error
            # none is imported of keys that are there already: two files may hold the same ones
            if not imported and not gpg.fingerprints(key):
                raise BuildError(f"the file {key} holds no OpenPGP public key", hint="check tree.gpg_keys")

    def _pull_once(
        self,
        name: str,
        remote: Remote,
        commit: str,
        patience: Patience,
        progress: Callable[[str], None],
        *,
        deltas: bool,
    ) -> None:
        flags = OSTree.RepoPullFlags.MIRROR | OSTree.RepoPullFlags.UNTRUSTED
        if remote.commits_only:
            flags |= OSTree.RepoPullFlags.COMMIT_ONLY
        options = GLib.Variant(
            "a{sv}",
            {
                "refs": GLib.Variant("as", [commit]),
                "flags": GLib.Variant("i", int(flags)),
                "depth": GLib.Variant("i", 0),
                "n-network-retries": GLib.Variant("u", patience.attempts),
                "disable-static-deltas": GLib.Variant("b", not deltas),
            },
        )
        cancellable = Gio.Cancellable()
        remote_url = not remote.url.startswith(files.FILE_URL)
        with _following(cancellable, patience, progress, remote=remote_url) as (watched, stalled):
            try:
                self._repo.pull_with_options(name, options, watched, cancellable)
            except GLib.Error as error:
                if stalled.is_set():
                    slow = (
                        f"fewer than {patience.low_speed_bytes} bytes/s for"
                        f" {patience.low_speed_seconds:.0f} s"
                    )
                    raise TransferError(f"the server {remote.url} stalled: {slow}") from error
                raise _pull_error(error, remote, commit) from error

    def _diagnosed(self, error: BuildError, remote: Remote, commit: str, patience: Patience) -> BuildError:
        """Add the name of the object to blame: over HTTP libostree says what is wrong but not always with
        what.
        """
        if not remote.url.startswith("http") or not re.search(
            r"HTTP 40\d|more input|[Nn]ot found", error.message
        ):
            return error
        found = ostree_server.find_damaged(
            remote.url, commit, patience, has_file=self._has_file, access=remote.access
        )
        hint = "the object must be repaired on the server (ostree fsck)"
        return BuildError(f"object {found} ({error.message})", hint=hint) if found else error

    def _has_file(self, checksum: str) -> bool:
        return bool(self._repo.has_object(OSTree.ObjectType.FILE, checksum, None)[1])

    def verify(self, commit: str, remote_name: str) -> None:
        """Check a local commit's signature against the keys of a remote. Raises BuildError."""
        try:
            result = self._repo.verify_commit_for_remote(commit, remote_name, None)
            result.require_valid_signature()
        except GLib.Error as error:
            raise _signature_error(error, commit) from error

    def pull_local(self, source: "Repo", commit: str) -> None:
        """Copy a commit, whole, with its signatures, from another repository of this machine; refs stay.
        Raises CommandError.
        """
        # it makes an address of the path by itself (ot-builtin-pull-local.c), and libostree unquotes that
        quoted = files.url(source.path.absolute()).removeprefix(files.FILE_URL)
        command.run(["ostree", f"--repo={self.path}", "pull-local", quoted, commit])

    def fsck(self, commit: str) -> int:
        """Read every object of a commit and check it against its name; return how many. Raises BuildError
        naming the bad one.
        """
        objects = self.objects(commit)
        for kind, checksum in objects:
            try:
                self._repo.fsck_object(OSTree.ObjectType(kind), checksum, None)
            except GLib.Error as error:
                raise BuildError(
                    f"object {_named((kind, checksum))} in {self.path} is damaged: {error.message}",
                    hint=f"remove {self.object_path(kind, checksum)} and run again: it is then pulled anew",
                ) from error
        return len(objects)

    def objects(self, commit: str) -> list[tuple[int, str]]:
        """Return (object type, checksum) of everything a commit needs. Raises BuildError when one is
        missing.
        """
        with readable(f"commit {commit} is not whole in {self.path}"):
            ok, found = self._repo.traverse_commit(commit, 0, None)
        assert ok
        names = [OSTree.object_name_deserialize(name) for name in found]
        return sorted((int(kind), checksum) for checksum, kind in names)

    def _forget_damage(self, commit: str) -> bool:
        """Return whether a commit passes for whole, but is not; it does not any more then: the next pull
        looks for all that it lacks.

        A commit that is being pulled (partial) may lack what it likes; what is there must be what its name
        says.
        """
        if not self._repo.has_object(OSTree.ObjectType.COMMIT, commit, None)[1]:
            return False
        whole = self.has(commit)
        damaged = [
            each
            for each in ostree_damage.damage(self._repo, commit)
            if whole or self.object_path(*each).exists()
        ]
        if not damaged:
            return False
        steplog.note(
            f"{len(damaged)} objects of {commit} are missing in {self.path}, or damaged, such as"
            f" {_named(damaged[0])}: pulling again"
        )
        for each in damaged:
            self.object_path(*each).unlink(missing_ok=True)
        self._forget_damaged_metadata()
        with readable(f"commit {commit} cannot be marked as partial in {self.path}"):
            self._repo.mark_commit_partial(commit, True)
        return True

    def _forget_damaged_metadata(self) -> bool:
        """Remove every directory's object that is not what its name says, whatever it belongs to; return
        whether there was one.
        """
        damaged = ostree_damage.damaged_metadata(self.path)
        for file in damaged:
            steplog.note(f"{file} is damaged: it is removed, and pulled again")
            file.unlink(missing_ok=True)
        return bool(damaged)

    def _check_whole(self, commit: str) -> None:
        damaged = ostree_damage.damage(self._repo, commit)
        if damaged:
            raise BuildError(
                f"commit {commit} is not whole in {self.path}: object {_named(damaged[0])} is missing or"
                " damaged, also after another pull",
                hint=(
                    f"check the file system; then remove {self.path} and run again: everything is pulled anew"
                ),
            )

    def object_path(self, kind: int, checksum: str) -> Path:
        """Return where an archive repository keeps an object."""
        suffix = {1: "filez"}.get(kind, OBJECT_SUFFIX[kind])
        return self.path / "objects" / checksum[:2] / f"{checksum[2:]}.{suffix}"

    # --- reading --------------------------------------------------------------------------------------------

    def has(self, commit: str) -> bool:
        """Whether the commit is here, whole and not partial."""
        try:
            ok, _, state = self._repo.load_commit(commit)
        except GLib.Error:
            return False
        return bool(ok) and not int(state) & int(OSTree.RepoCommitState.PARTIAL)

    def has_commit_object(self, commit: str) -> bool:
        """Whether the commit object is here, whatever there is of its tree."""
        try:
            return bool(self._repo.load_commit(commit)[0])
        except GLib.Error:
            return False

    def metadata(self, commit: str) -> dict[str, Any]:
        """Return a commit's metadata: what `ostree show --print-metadata-key` prints, as Python values."""
        with readable(f"commit {commit} cannot be read from {self.path}"):
            _, variant, _ = self._repo.load_commit(commit)
        return dict(variant.get_child_value(0).unpack())

    def parent(self, commit: str) -> str | None:
        """Return the commit's parent checksum, or None."""
        with readable(f"commit {commit} cannot be read from {self.path}"):
            _, variant, _ = self._repo.load_commit(commit)
        found: str | None = OSTree.commit_get_parent(variant)
        return found

    def timestamp(self, commit: str) -> int:
        """Return the commit's time in seconds since 1970."""
        with readable(f"commit {commit} cannot be read from {self.path}"):
            _, variant, _ = self._repo.load_commit(commit)
        return int(OSTree.commit_get_timestamp(variant))

    def _root(self, commit: str) -> Any:
        with readable(f"commit {commit} cannot be read from {self.path}"):
            _, root, _ = self._repo.read_commit(commit, None)
        return root

    def has_atomic(self, commit: str) -> bool:
        """Whether hosts of a commit have the `atomic` command: what changes their releases is then asked of
        it, too.
        """
        return self.has_file(commit, ATOMIC)

    def _resolved(self, commit: str, path: str, *, follow: bool = True) -> ostree_paths.Resolved | None:
        root = self._root(commit)
        with readable(f"{path} of commit {commit} cannot be read from {self.path}"):
            return ostree_paths.resolve(root, path, follow=follow)

    def listing(self, commit: str, path: str) -> list[str]:
        """Return the names in one directory of a commit, links followed, sorted; empty when there is no such
        directory.
        """
        found = self._resolved(commit, path)
        if found is None:
            return []
        with readable(f"the directory {path} of commit {commit} cannot be read from {self.path}"):
            if (
                found.file.query_file_type(Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None)
                != Gio.FileType.DIRECTORY
            ):
                return []
            children = found.file.enumerate_children(
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

    def find(self, commit: str, path: str, *, follow: bool = True) -> Entry | None:
        """Return what a path of a commit leads to, under its path without links; None when it leads to
        nothing.

        Without `follow` that may be a link itself (lstat(2)).
        """
        found = self._resolved(commit, path, follow=follow)
        if found is None:
            return None
        with readable(f"{path} of commit {commit} cannot be read from {self.path}"):
            return _entry(found.path, found.file)

    def entry(self, commit: str, path: str) -> Entry:
        """Return what a commit has at a path, which may be a link itself. Raises BuildError when that is
        nothing.
        """
        found = self.find(commit, path, follow=False)
        if found is None:
            raise BuildError(
                f"commit {commit} has no {path}",
                hint=f"`ostree --repo={self.path} ls -R {commit}` lists what it has",
            )
        return found

    def walk(self, commit: str) -> Iterator[Entry]:
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

    def open_file(self, checksum: str) -> tuple["ObjectStream", dict[str, bytes]]:
        """Return a file object's content, uncompressed and checked against nothing (fsck did), and its
        extended attributes.
        """
        with readable(f"object {checksum}.file in {self.path} cannot be read"):
            _, stream, _, xattrs = self._repo.load_file(checksum, None)
        return ObjectStream(stream), {
            bytes(name).rstrip(b"\0").decode(): bytes(value) for name, value in xattrs.unpack()
        }

    def metadata_object(self, kind: int, checksum: str) -> bytes:
        """Return a commit, dirtree or dirmeta object, serialised as it lies in every kind of repository."""
        return (self.path / "objects" / checksum[:2] / f"{checksum[2:]}.{OBJECT_SUFFIX[kind]}").read_bytes()

    def detached_metadata(self, commit: str) -> bytes | None:
        """Return the commit's detached metadata (its signatures), serialised, or None."""
        file = self.path / "objects" / commit[:2] / f"{commit[2:]}.commitmeta"
        return file.read_bytes() if file.exists() else None

    # --- writing --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Write objects, all or none."""
        with self.writing():
            self._repo.prepare_transaction(None)
            try:
                yield
                self._repo.commit_transaction(None)
            except BaseException:
                self._repo.abort_transaction(None)
                raise

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

    def contents(self, commit: str) -> str:
        """Return the checksum of a commit's content: equal for two commits of the same files."""
        root = self._root(commit)
        root.ensure_resolved()
        found: str = root.tree_get_contents_checksum()
        return found

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

    def sign(self, commit: str, key_id: str, homedir: Path) -> bool:
        """Sign a commit with a GPG key, unless it is signed by it; return whether it was signed now.

        libostree's own check needs the key in the user's keyring, and else adds one more signature each time
        (measured with 2022.7).
        """
        detached = self.detached_metadata(commit)
        file = self.path / "objects" / commit[:2] / f"{commit[2:]}.commit"
        if detached is not None and _is_signed(file, signatures(detached), key_id, homedir):
            return False
        try:
            with self.writing():
                self._repo.sign_commit(commit, key_id, str(homedir), None)
        except GLib.Error as error:
            if not error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.EXISTS):
                raise BuildError(
                    f"commit {commit} cannot be signed with key {key_id}: {error.message}"
                ) from error
            return False
        return True


@dataclass(frozen=True)
class Staged:
    """Files written into a repository and not committed yet; `contents` is their checksum."""

    mtree: Any
    contents: str


class ObjectStream(io.RawIOBase):
    """The content of a file object as a Python stream; empty for a symbolic link, which has none."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        """Streams are read only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there is content; return how far (io.RawIOBase does the rest)."""
        if self._stream is None:
            return 0
        with readable("an object of an OSTree repository cannot be read"):
            data: bytes = self._stream.read_bytes(len(buffer), None).get_data() or b""
        buffer[: len(data)] = data
        return len(data)


def _directory_of(tree: Any, path: str) -> Any:
    """Return the directory of a mutable tree in which a path lies; None when there is none."""
    directory = tree
    for part in PurePosixPath(posixpath.dirname(path)).parts:
        directory = directory.get_subdirs().get(part)
        if directory is None:
            return None
    return directory


def _entry(path: PurePosixPath, file: Any) -> Entry:
    info = file.query_info("standard::*,unix::*", Gio.FileQueryInfoFlags.NOFOLLOW_SYMLINKS, None)
    directory = info.get_file_type() == Gio.FileType.DIRECTORY
    if directory:
        file.ensure_resolved()
    return Entry(
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


def _named(thing: ostree_damage.Object) -> str:
    kind, checksum = thing
    return f"{checksum}.{OBJECT_SUFFIX[kind]}"


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn libostree's errors into a sentence of ours."""
    try:
        yield
    except GLib.Error as error:
        raise BuildError(f"{what}: {error.message}") from error


@contextlib.contextmanager
def _following(
    cancellable: Any, patience: Patience, progress: Callable[[str], None], *, remote: bool
) -> Iterator[tuple[Any, threading.Event]]:
    """Report a pull's progress once a second and cancel it when a network transfer stalls.

    The pull reports through its own main context, in the thread that pulls; a second thread watches the
    clock.
    """
    stalled, done = threading.Event(), threading.Event()
    seen = _Seen()

    def changed(watched: Any) -> None:
        seen.transferred = watched.get_uint64("bytes-transferred")
        metadata = watched.get_uint("metadata-fetched")
        seen.text = (
            f"{watched.get_uint('fetched')}/{watched.get_uint('requested')} objects ({metadata} metadata),"
            f" {seen.transferred / 1e6:.1f} MB"
        )

    def watch() -> None:
        before, told, since = 0, "", time.monotonic()
        while not done.wait(WATCH_SECONDS):
            if seen.text != told:
                told = seen.text
                progress(told)
            now = time.monotonic()
            if seen.transferred - before >= patience.low_speed_bytes * (now - since):
                before, since = seen.transferred, now
            elif remote and now - since > patience.low_speed_seconds:
                stalled.set()
                cancellable.cancel()
                return

    watched = OSTree.AsyncProgress.new()
    watched.connect("changed", changed)
    thread = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield watched, stalled
    finally:
        done.set()
        thread.join()
        watched.finish()


@dataclass
class _Seen:
    transferred: int = 0
    text: str = ""


def _as_libostree_reads(url: str) -> str:
    return files.url(files.path_of(url)) if url.startswith(files.FILE_URL) else url


def _pull_error(error: Any, remote: Remote, commit: str) -> BuildError:
    """Say what a failed pull means: the network (try again), a signature, a damaged object, or a commit that
    is not there.
    """
    text = error.message
    if "GPG" in text or "signature" in text.lower():
        return _signature_error(error, commit)
    if (
        "orrupt" in text
        or "hecksum" in text
        or error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_DATA)
    ):
        return BuildError(
            f"damaged content from {remote.url}: {text}",
            hint="the object named above must be repaired on the server (ostree fsck)",
        )
    network = (
        Gio.IOErrorEnum.TIMED_OUT,
        Gio.IOErrorEnum.HOST_NOT_FOUND,
        Gio.IOErrorEnum.CONNECTION_REFUSED,
        Gio.IOErrorEnum.HOST_UNREACHABLE,
        Gio.IOErrorEnum.NETWORK_UNREACHABLE,
        Gio.IOErrorEnum.PARTIAL_INPUT,
        Gio.IOErrorEnum.CONNECTION_CLOSED,
        Gio.IOErrorEnum.BUSY,
    )
    if any(error.matches(Gio.io_error_quark(), code) for code in network) or re.search(
        r"HTTP 5\d\d|While fetching .*\[\d+\]", text
    ):
        advice = remote.access.blame(remote.url, text) or "check the network and tree.url"
        return TransferError(f"cannot fetch from {remote.url}: {text}", hint=advice)
    return BuildError(
        f"commit {commit} cannot be pulled from {remote.url}: {text}",
        hint="if an object is missing there, the server's repository is not whole (ostree fsck)",
    )


def _signature_error(error: Any, commit: str) -> BuildError:
    return BuildError(
        f"commit {commit} is not signed by a key of tree.gpg_keys: {error.message}",
        hint=(
            "sign it (ostree gpg-sign), correct tree.gpg_keys, or set tree.allow_unsigned: true by hand to go"
            " without"
        ),
    )


# ostree-core.h, OSTREE_SUMMARY_GVARIANT_STRING: refs with size, checksum and metadata of their commits; then
# what there is besides
SUMMARY = "(a(s(taya{sv}))a{sv})"
# OSTree's repo-summary: when it was written is no news
WRITTEN = "ostree.summary.last-modified"


def _said_by(summary: Path) -> tuple[str, str]:
    """Return what a summary says, but for when."""
    content = GLib.Variant.new_from_bytes(
        GLib.VariantType(SUMMARY), GLib.Bytes.new(summary.read_bytes()), False
    )
    besides = content.get_child_value(1)
    entries = [besides.get_child_value(number) for number in range(besides.n_children())]
    return content.get_child_value(0).print_(True), " ".join(
        each.print_(True) for each in entries if each.get_child_value(0).get_string() != WRITTEN
    )


def _is_signed(file: Path, detached: Sequence[bytes], key: str, homedir: Path | None) -> bool:
    """Return whether one of the signatures is a key's over this file: a summary, or a commit object."""
    with temporary.directory("signature") as place:
        blob, public = place / "signature", place / "key.asc"
        gpg.export_key(homedir, key, public)
        for data in detached:
            blob.write_bytes(data)
            with contextlib.suppress(gpg.SignatureError):
                gpg.check_detached(file, blob, [public], what=str(file))
                return True
    return False


def signatures(detached: bytes) -> list[bytes]:
    """Return the OpenPGP signatures in a commit's detached metadata (ostree-core.h: `ostree.gpgsigs`, aay in
    a{sv}).
    """
    variant = GLib.Variant.new_from_bytes(GLib.VariantType("a{sv}"), GLib.Bytes.new(detached), False)
    found = (
        variant.lookup_value("ostree.gpgsigs", GLib.VariantType("aay")) if variant.is_normal_form() else None
    )
    return [bytes(each) for each in found.unpack()] if found is not None else []


def commit_version(commit: bytes) -> str:
    """Return the version in a serialised commit object; empty when it is none, or has none."""
    variant = GLib.Variant.new_from_bytes(
        GLib.VariantType("(a{sv}aya(say)sstayay)"), GLib.Bytes.new(commit), False
    )
    if not variant.is_normal_form():
        return ""
    found = variant.get_child_value(0).lookup_value("version", GLib.VariantType("s"))
    return str(found.get_string()) if found is not None else ""
