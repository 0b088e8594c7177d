"""The summary of a repository, which tells clients its refs and deltas: written, signed, put in place."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagebuild import files
from imagebuild.tools import command, temporary
from imagebuild.tools.ostree.library import GLib, readable
from imagebuild.tools.ostree.object_store import ObjectStore
from imagebuild.tools.ostree.server import SUMMARY
from imagebuild.tools.ostree.signatures import is_signed, signatures

DELTA_INDEXES = "delta-indexes"
LINKED = ("objects", "deltas", DELTA_INDEXES)
# OSTree's repo-summary: when it was written does not count
WRITTEN = "ostree.summary.last-modified"


def write_summary(store: ObjectStore) -> None:
    """Write the summary file, not signed."""
    with store.writing(), readable(f"the summary of {store.path} cannot be written"):
        store.handle.regenerate_summary(None, None)


def write_signed_summary(store: ObjectStore, key: str, homedir: Path | None) -> bool:
    """Write the summary file, signed with a key (of a GnuPG home directory); return whether it was written
    now.

    It is made elsewhere and put in its place together with its signature: the two are never apart for longer
    than two renames take. One that says the same and is signed by this key stays.
    """
    home = [f"--gpg-homedir={homedir}"] if homedir is not None else []
    names = ("summary", "summary.sig")
    # ostree(1) writes the deltas' indexes along with the summary: into this repository, too
    (store.path / DELTA_INDEXES).mkdir(exist_ok=True)
    with store.writing(), linked_copy(store.path) as copy:
        command.run(["ostree", f"--repo={copy}", "summary", "--update", f"--gpg-sign={key}", *home])
        old, new = ([directory / name for name in names] for directory in (store.path, copy))
        same = all(file.is_file() for file in old) and _said_by(old[0]) == _said_by(new[0])
        if same and is_signed(old[0], signatures(old[1].read_bytes()), key, homedir):
            return False
        ready = [store.path / f".{name}.new" for name in names]
        for file, target in zip(new, ready, strict=True):
            files.replace(target, file.read_bytes())
        for file, target in zip(ready, old, strict=True):
            file.replace(target)
    return True


@contextlib.contextmanager
def linked_copy(repository: Path, linked: Sequence[str] = LINKED) -> Iterator[Path]:
    """Yield the directory of another repository that has the objects and deltas of this one (or what else is
    to be `linked`), and refs that can be moved without moving those.
    """
    with temporary.directory("repo") as work:
        copy = work / "repo"
        copy.mkdir()
        shutil.copyfile(repository / "config", copy / "config")
        shutil.copytree(repository / "refs", copy / "refs")
        for name in linked:
            if (repository / name).is_dir():
                (copy / name).symlink_to((repository / name).absolute())
        for name in ("tmp", "state", "extensions"):
            (copy / name).mkdir()
        yield copy


def _said_by(summary: Path) -> tuple[str, str]:
    """Return what a summary says, but for when."""
    content = GLib.Variant.new_from_bytes(
        GLib.VariantType(SUMMARY), GLib.Bytes.new(summary.read_bytes()), False
    )
    besides = content.get_child_value(1)
    entries = [besides.get_child_value(number) for number in range(besides.n_children())]
    return content.get_child_value(0).print_(True), " ".join(
        entry.print_(True) for entry in entries if entry.get_child_value(0).get_string() != WRITTEN
    )
