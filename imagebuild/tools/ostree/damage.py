"""What of a commit is not in a repository, or is not what its name says: what a program that was killed, or a
full disk, may leave.

libostree takes a commit whose own object is there, and which is not marked as partial, for whole
(ostree-repo-pull.c, scan_commit_object): what it refers to is not looked for again.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuild.tools.ostree.library import GLib, OSTree

FILE, DIRTREE, DIRMETA, COMMIT = (
    OSTree.ObjectType.FILE,
    OSTree.ObjectType.DIR_TREE,
    OSTree.ObjectType.DIR_META,
    OSTree.ObjectType.COMMIT,
)

Object = tuple[int, str]


def damage(repo: Any, commit: str) -> list[Object]:
    """Return (object type, checksum) of what a commit lacks in a repository (libostree's own object).

    Directories and the commit itself are read and compared with their checksums; of files it is asked only
    whether they are there (fsck reads those). What only a lost directory knew of is not found before that is
    there again.
    """
    return sorted(
        {
            (int(kind), checksum)
            for kind, checksum in _needed(repo, commit)
            if not _is_good(repo, kind, checksum)
        }
    )


def damaged_metadata(repository: Path) -> list[Path]:
    """Return the dirtree and dirmeta objects of a repository that are not what their names say: SHA-256 of
    the file, in every mode.
    """
    files = (
        file
        for suffix in ("dirtree", "dirmeta")
        for file in (repository / "objects").glob(f"[0-9a-f][0-9a-f]/*.{suffix}")
    )
    return [
        file
        for file in files
        if hashlib.sha256(file.read_bytes()).hexdigest() != file.parent.name + file.stem
    ]


def _needed(repo: Any, commit: str) -> Iterator[tuple[Any, str]]:
    """Yield every object that a commit needs, as far as its directories can be read."""
    todo = [(COMMIT, commit)]
    seen = set(todo)
    while todo:
        kind, checksum = todo.pop()
        yield kind, checksum
        children = [child for child in _children(repo, kind, checksum) if child not in seen]
        seen.update(children)
        todo += children


def _children(repo: Any, kind: Any, checksum: str) -> list[tuple[Any, str]]:
    """Return what an object names (ostree-core.h, OSTREE_COMMIT_GVARIANT_FORMAT,
    OSTREE_TREE_GVARIANT_FORMAT); nothing when it is damaged.
    """
    variant = _load(repo, kind, checksum) if kind in (COMMIT, DIRTREE) else None
    if variant is None:
        return []
    if kind == COMMIT:
        return [(DIRTREE, _hexadecimal(variant, 6)), (DIRMETA, _hexadecimal(variant, 7))]
    files, directories = (variant.get_child_value(number) for number in range(2))
    children = [
        (FILE, _hexadecimal(files.get_child_value(number), 1)) for number in range(files.n_children())
    ]
    for directory in (directories.get_child_value(number) for number in range(directories.n_children())):
        children += [(DIRTREE, _hexadecimal(directory, 1)), (DIRMETA, _hexadecimal(directory, 2))]
    return children


def _hexadecimal(variant: Any, number: int) -> str:
    return str(variant.get_child_value(number).get_data_as_bytes().get_data().hex())


def _is_good(repo: Any, kind: Any, checksum: str) -> bool:
    if kind == FILE:
        return bool(repo.has_object(FILE, checksum, None)[1])
    return _load(repo, kind, checksum) is not None


def _load(repo: Any, kind: Any, checksum: str) -> Any:
    """Return a commit, dirtree or dirmeta object; None when it is not there, or is another one."""
    try:
        _, variant = repo.load_variant(kind, checksum)
    except GLib.Error:
        return None
    data = variant.get_data_as_bytes().get_data() or b""
    return variant if hashlib.sha256(data).hexdigest() == checksum else None
