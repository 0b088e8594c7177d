"""A repository as a store of objects: opened, locked for one writer, read by checksum.

`ObjectStore` is the first of the layers of `repository.Repo`; `CommitReader` and `CommitWriter` follow.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools.ostree import writer
from imagebuild.tools.ostree.library import Gio, GLib, OSTree, readable
from imagebuild.tools.ostree.server import OBJECT_SUFFIX


class ObjectStore:
    """An open repository and its objects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._repo = OSTree.Repo.new(Gio.File.new_for_path(str(path)))
        with readable(f"the OSTree repository {path} cannot be opened"):
            self._repo.open(None)

    def writing(self) -> contextlib.AbstractContextManager[None]:
        """Be the only writer of this repository for the length of the block; whoever writes here is by
        itself, for programs it must be said.
        """
        return writer.writing(self.path)

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

    # --- objects --------------------------------------------------------------------------------------------

    def object_path(self, kind: int, checksum: str) -> Path:
        """Return where an archive repository keeps an object."""
        suffix = {1: "filez"}.get(kind, OBJECT_SUFFIX[kind])
        return self.path / "objects" / checksum[:2] / f"{checksum[2:]}.{suffix}"

    def has_file_object(self, checksum: str) -> bool:
        """Whether a file object is here."""
        return bool(self._repo.has_object(OSTree.ObjectType.FILE, checksum, None)[1])

    def objects(self, commit: str) -> list[tuple[int, str]]:
        """Return (object type, checksum) of everything a commit needs. Raises BuildError when one is
        missing.
        """
        with readable(f"commit {commit} is not whole in {self.path}"):
            ok, found = self._repo.traverse_commit(commit, 0, None)
        assert ok
        names = [OSTree.object_name_deserialize(name) for name in found]
        return sorted((int(kind), checksum) for checksum, kind in names)

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
                    f"object {object_name(kind, checksum)} in {self.path} is damaged: {error.message}",
                    hint=f"remove {self.object_path(kind, checksum)} and run again: it is then pulled anew",
                ) from error
        return len(objects)

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

    # --- commits --------------------------------------------------------------------------------------------

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


def object_name(kind: int, checksum: str) -> str:
    """Return what messages call an object: its checksum, and its type as a suffix."""
    return f"{checksum}.{OBJECT_SUFFIX[kind]}"
