"""Pulls: exactly one commit, patiently, with its signature and the checksum of every object verified."""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild import files, steplog
from imagebuild.errors import BuildError
from imagebuild.tools import gpg
from imagebuild.tools.access import DIRECT, Access
from imagebuild.tools.ostree import pull_errors, recovery, server_damage
from imagebuild.tools.ostree.library import Gio, GLib, OSTree, readable
from imagebuild.tools.ostree.object_store import ObjectStore
from imagebuild.tools.ostree.pull_progress import following
from imagebuild.tools.ostree.server import Patience, TransferError


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

    @property
    def name(self) -> str:
        """What a repository's configuration calls it: another name for whatever differs."""
        return "source-" + hashlib.sha256(f"{self}".encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Pull:
    """A commit that is pulled into a repository from a remote."""

    store: ObjectStore
    remote: Remote
    commit: str
    patience: Patience
    progress: Callable[[str], None]

    def run(self) -> None:
        """Pull the commit; what an interrupted pull left is used. Raises BuildError naming the object or the
        server.
        """
        with self.store.writing():
            self._set_remote()
            if self.remote.commits_only:
                self._pull_patiently(deltas=False)
                self._verify()
                return
            # a delta builds upon other commits that are here, and nobody knows whether those are whole
            deltas = not recovery.forget_damage(self.store, self.commit)
            try:
                self._pull_patiently(deltas=deltas)
            except BuildError:
                if not recovery.forget_damaged_metadata(self.store):
                    raise
                self._pull_patiently(deltas=False)
            self._verify()
            if recovery.forget_damage(self.store, self.commit):
                self._pull_patiently(deltas=False)
                recovery.check_whole(self.store, self.commit)

    def _verify(self) -> None:
        if self.remote.verify:
            verify(self.store, self.commit, self.remote.name)

    def _set_remote(self) -> None:
        name, remote, handle = self.remote.name, self.remote, self.store.handle
        reached = {option: GLib.Variant("s", value) for option, value in remote.access.options().items()}
        verified = {
            "gpg-verify": GLib.Variant("b", remote.verify),
            "gpg-verify-summary": GLib.Variant("b", False),
        }
        options = GLib.Variant("a{sv}", verified | reached)
        with readable(f"the remote {remote.url} cannot be configured"):
            # another handle may have written the configuration since this one read it
            handle.reload_config(None)
            handle.remote_change(None, OSTree.RepoRemoteChange.DELETE_IF_EXISTS, name, None, None, None)
            handle.remote_add(name, _as_libostree_reads(remote.url), options, None)
        for key in remote.keys:
            self._import_key(key)

    def _import_key(self, key: Path) -> None:
        try:
            stream = Gio.File.new_for_path(str(key)).read(None)
            _, imported = self.store.handle.remote_gpg_import(self.remote.name, stream, None, None)
        except GLib.Error as error:
            unread = BuildError(
                f"the signing key {key} cannot be read: {error.message}", hint="check tree.gpg_keys"
            )
            raise (pull_errors.no_room() or unread) from error
        # none is imported of keys that are there already: two files may hold the same ones
        if not imported and not gpg.fingerprints(key):
            raise BuildError(f"the file {key} holds no OpenPGP public key", hint="check tree.gpg_keys")

    def _pull_patiently(self, *, deltas: bool) -> None:
        attempts = self.patience.attempts
        for attempt in range(1, attempts + 1):
            try:
                self._pull_once(deltas=deltas)
            except TransferError as error:
                if attempt == attempts:
                    raise self._diagnosed(error) from error
                pause = self.patience.pause * 2 ** (attempt - 1)
                steplog.note(
                    f"attempt {attempt} of {attempts} failed: {error.message}; again in {pause:.0f} s"
                )
                time.sleep(pause)
            except BuildError as error:
                raise self._diagnosed(error) from error
            else:
                break

    def _pull_once(self, *, deltas: bool) -> None:
        url, patience, cancellable = self.remote.url, self.patience, Gio.Cancellable()
        away = not url.startswith(files.FILE_URL)
        with following(cancellable, patience, self.progress, remote=away) as (watched, stalled):
            try:
                self.store.handle.pull_with_options(
                    self.remote.name, self._options(deltas=deltas), watched, cancellable
                )
            except GLib.Error as error:
                if stalled.is_set():
                    slow = f"fewer than {patience.low_speed_bytes} bytes/s"
                    raise TransferError(
                        f"the server {url} stalled: {slow} for {patience.low_speed_seconds:.0f} s"
                    ) from error
                raise pull_errors.pull_error(error, url, self.remote.access, self.commit) from error

    def _options(self, *, deltas: bool) -> Any:
        flags = OSTree.RepoPullFlags.MIRROR | OSTree.RepoPullFlags.UNTRUSTED
        if self.remote.commits_only:
            flags |= OSTree.RepoPullFlags.COMMIT_ONLY
        return GLib.Variant(
            "a{sv}",
            {
                "refs": GLib.Variant("as", [self.commit]),
                "flags": GLib.Variant("i", int(flags)),
                "depth": GLib.Variant("i", 0),
                "n-network-retries": GLib.Variant("u", self.patience.attempts),
                "disable-static-deltas": GLib.Variant("b", not deltas),
            },
        )

    def _diagnosed(self, error: BuildError) -> BuildError:
        """Add the name of the object to blame: over HTTP libostree says what is wrong but not always with
        what.
        """
        if not self.remote.url.startswith("http") or not re.search(
            r"HTTP 40\d|more input|[Nn]ot found", error.message
        ):
            return error
        damaged = server_damage.find_damaged(
            self.remote.url,
            self.commit,
            self.patience,
            has_file=self.store.has_file_object,
            access=self.remote.access,
        )
        hint = "the object must be repaired on the server (ostree fsck)"
        return BuildError(f"object {damaged} ({error.message})", hint=hint) if damaged else error


def verify(store: ObjectStore, commit: str, remote_name: str) -> None:
    """Check a local commit's signature against the keys of a remote. Raises BuildError."""
    try:
        result = store.handle.verify_commit_for_remote(commit, remote_name, None)
        result.require_valid_signature()
    except GLib.Error as error:
        raise pull_errors.signature_error(error, commit) from error


def _as_libostree_reads(url: str) -> str:
    return files.url(files.path_of(url)) if url.startswith(files.FILE_URL) else url
