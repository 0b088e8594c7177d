"""The only place that speaks to libostree: `Repo`, an OSTree repository on this machine.

Checksums are 64 lower-case hexadecimal digits everywhere. What a repository can do is told in layers:
`object_store` (opened, locked, read by checksum), `commit_reader` (trees of commits), `commit_writer`
(commits are made), and here its refs, and doors to `pull`, `summary` and `signatures`.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from imagebuild import files
from imagebuild.tools import command
from imagebuild.tools.ostree import pull, signatures, summary, writer
from imagebuild.tools.ostree.commit_writer import CommitWriter
from imagebuild.tools.ostree.library import Gio, OSTree, readable
from imagebuild.tools.ostree.pull import Remote
from imagebuild.tools.ostree.server import PATIENT, Patience


class Repo(CommitWriter):
    """An OSTree repository on this machine."""

    @classmethod
    def ensure(cls, path: Path, mode: str = "archive") -> "Repo":
        """Open a repository, made now if it is not there, or not whole: by one of several at once."""
        # what is made last (libostree 2022.7, ostree-repo.c, repo_create_at_internal: config comes first)
        if not (path / "objects").is_dir():
            path.mkdir(parents=True, exist_ok=True)
            repo = OSTree.Repo.new(Gio.File.new_for_path(str(path)))
            wanted = getattr(OSTree.RepoMode, mode.replace("-", "_").upper())
            with writer.writing(path), readable(f"the OSTree repository {path} cannot be made"):
                repo.create(wanted, None)
        return cls(path)

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
        written now. With a key (of a GnuPG home directory) it is signed.
        """
        if key is not None:
            return summary.write_signed_summary(self, key, homedir)
        summary.write_summary(self)
        return True

    @contextlib.contextmanager
    def view(self) -> Iterator["Repo"]:
        """Yield another repository that has the objects and deltas of this one, and refs that can be moved
        without moving those.
        """
        with summary.linked_copy(self.path) as copy:
            yield Repo(copy)

    def deltas(self) -> set[tuple[str, str]]:
        """Return the pairs of commits that there are static deltas between, (from, to)."""
        with readable(f"the static deltas of {self.path} cannot be read"):
            _, names = self._repo.list_static_delta_names(None)
        # one that is whole in itself has the name of its commit alone
        return {(old, new) for old, dash, new in (name.partition("-") for name in names) if dash}

    def make_delta(self, old: str, new: str) -> bool:
        """Make a static delta between two commits, unless it is there; return whether it was made now."""
        if (old, new) in self.deltas():
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
        pull.Pull(store=self, remote=remote, commit=commit, patience=patience, progress=progress).run()

    def verify(self, commit: str, remote_name: str) -> None:
        """Check a local commit's signature against the keys of a remote. Raises BuildError."""
        pull.verify(self, commit, remote_name)

    def pull_local(self, source: "Repo", commit: str) -> None:
        """Copy a commit, whole, with its signatures, from another repository of this machine; refs stay.
        Raises CommandError.
        """
        # it makes an address of the path by itself (ot-builtin-pull-local.c), and libostree unquotes that
        quoted = files.url(source.path.absolute()).removeprefix(files.FILE_URL)
        command.run(["ostree", f"--repo={self.path}", "pull-local", quoted, commit])

    def sign(self, commit: str, key_id: str, homedir: Path) -> bool:
        """Sign a commit with a GPG key, unless it is signed by it; return whether it was signed now."""
        return signatures.sign_commit(self, commit, key_id, homedir)
