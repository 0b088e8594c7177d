"""Static deltas as files of a repository: below `deltas`, two directories deep."""

import base64
import shutil
from pathlib import Path, PurePosixPath

from imagebuild.tools.ostree.repository import Repo
from imagebuild.tools.ostree.summary import linked_copy

DIRECTORY = "deltas"


def make(repo: Repo, base: str, commit: str, place: Path) -> None:
    """Make the static delta between two commits of a repository: `place` has then what would lie below its
    `deltas`. Raises CommandError.
    """
    # not in a repository whose parent has the objects: `generate` does not look there (seen with 2022.7)
    with linked_copy(repo.path, ("objects",)) as copy:
        Repo(copy).make_delta(base, commit)
        shutil.copytree(copy / DIRECTORY, place)


def put(repo: Repo, source: Path) -> None:
    """Copy deltas (what lies below another repository's `deltas`) into a repository; those that are there
    stay.
    """
    for delta in sorted(source.glob("*/*")):
        _copy(repo, source, PurePosixPath(delta.relative_to(source)))


def put_one(repo: Repo, source: Repo, base: str, commit: str) -> None:
    """Copy the delta between two commits from one repository to another."""
    _copy(repo, source.path / DIRECTORY, place_of(base, commit))


def place_of(base: str, commit: str) -> PurePosixPath:
    """Return where a delta lies below `deltas`: checksums in base64 with _ for / and without padding
    (ostree-core.c, 2022.7: ostree_checksum_b64_inplace_from_bytes, _ostree_get_relative_static_delta_path).
    """
    name = "-".join(
        base64.b64encode(bytes.fromhex(checksum), altchars=b"+_").decode().rstrip("=")
        for checksum in (base, commit)
    )
    return PurePosixPath(name[:2], name[2:])


def _copy(repo: Repo, source: Path, delta: PurePosixPath) -> None:
    target = repo.path / DIRECTORY / delta
    with repo.writing():
        if target.exists():
            return
        # whole or not there: a client that sees the name reads all of it
        partial = repo.path / "tmp" / f"delta-{target.name[:40]}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source / delta, partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
