"""A pulled commit travels with the artifact that describes it: its objects, as an archive repository keeps
them, from one store's repository into another's. Who receives one needs no way to the server that it came
from.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild import files
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError
from imagebuild.tools.ostree.library import OSTree
from imagebuild.tools.ostree.object_store import object_name
from imagebuild.tools.ostree.repository import Repo

# where a store has its repository
REPOSITORY = "repo"
# objects of an archive repository (libostree 2022.7, ostree-core.c, _ostree_loose_path), as two directories
# name them
OBJECT = re.compile(r"([0-9a-f]{2}/[0-9a-f]{62})\.(filez|dirtree|dirmeta|commit|commitmeta)")
COMMIT = re.compile(r"[0-9a-f]{64}")
# no object is refused for its size: it is that of the pack that counts, whose sha256 is known
LAST = (".commitmeta", ".commit")


@dataclass(frozen=True, kw_only=True)
class CommitCarrier:
    """Carries the commit of a `Tree`, and the commit objects that are between it and another one
    (stages/tree.py). `sets_ref`: the tree's ref points at it in the repository.
    """

    sets_ref: bool

    def there(self, root: Path, record: StoredArtifact) -> bool:
        """Whether the commit is in the store's repository, whole, and the others' objects are."""
        if not (root / REPOSITORY / "objects").is_dir():
            return False
        repo, commit = Repo(root / REPOSITORY), _commit_of(record)
        missing = {each for each in _between(record) if not repo.has_commit_object(each)}
        return repo.has(commit) and missing <= _lost(repo, commit)

    def sources(self, root: Path, record: StoredArtifact) -> Mapping[str, Path]:
        """Return the objects of the commit, with its signatures. Raises BuildError when one is missing."""
        repo, commit = Repo(root / REPOSITORY), _commit_of(record)
        found = [repo.object_path(*named) for named in repo.objects(commit)]
        # of those between, what was pulled: some may be lost for good, and a criterion says so
        kind = int(OSTree.ObjectType.COMMIT)
        commits = [repo.object_path(kind, each) for each in (commit, *_between(record))]
        found += [file for file in commits[1:] if file.exists()]
        _note_lost(repo, record)
        found += [meta for file in commits if (meta := file.with_suffix(".commitmeta")).exists()]
        return {f"{file.parent.name}/{file.name}": file for file in sorted(found)}

    def expects(self, name: str, size: int) -> bool:
        """Whether a file can be an object."""
        return OBJECT.fullmatch(name) is not None and size >= 0

    def receive(self, root: Path, record: StoredArtifact, place: Path) -> None:
        """Move objects into the store's repository; those of commits last, so that what looks whole is.
        Raises BuildError when one is missing.
        """
        repo, commit = Repo.ensure(root / REPOSITORY), _commit_of(record)
        names = [str(file.relative_to(place)) for file in place.rglob("*") if file.is_file()]
        commits = [name for name in names if name.endswith(LAST)]
        with repo.writing():
            _move(place, repo.path / "objects", set(names) - set(commits))
            # one call for thousands of files
            os.sync()
            for each in (commit, *_commits_among(commits)):
                if not repo.has(each):
                    # its tree is not here, or not yet (ostree-repo-pull.c, "commitpartial")
                    _mark_of(repo, each).touch()
            _move(place, repo.path / "objects", commits)
            _check_whole(repo, commit)
            _mark_of(repo, commit).unlink(missing_ok=True)
            _note_lost(repo, record)
        if self.sets_ref:
            repo.set_ref(str(record.value["ref"]), commit)


def _lost(repo: Repo, commit: str) -> set[str]:
    """Return the commits before a commit that did not come with it: nobody had them."""
    file = repo.path / "state" / f"{commit}.lost-before"
    return set(file.read_text().split()) if file.exists() else set()


def _note_lost(repo: Repo, record: StoredArtifact) -> None:
    commit = _commit_of(record)
    lost = [each for each in _between(record) if not repo.has_commit_object(each)]
    if not set(lost) <= (known := _lost(repo, commit)):
        text = "\n".join(sorted({*lost, *known}))
        files.replace(repo.path / "state" / f"{commit}.lost-before", text + "\n")


def _mark_of(repo: Repo, commit: str) -> Path:
    return repo.path / "state" / f"{commit}.commitpartial"


def _commits_among(names: Iterable[str]) -> list[str]:
    found = (name.removesuffix(".commit").replace("/", "") for name in names)
    return sorted(each for each in found if COMMIT.fullmatch(each))


def _check_whole(repo: Repo, commit: str) -> None:
    """Raise BuildError when an object of a commit is missing: files are not looked for by libostree."""
    missing = [named for named in repo.objects(commit) if not repo.object_path(*named).exists()]
    if missing:
        raise BuildError(
            f"commit {commit} did not come whole: {object_name(*missing[0])} is missing",
            hint="remove its result from the remote store: it is then pulled, and sent, anew",
        )


def _move(place: Path, objects: Path, names: Iterable[str]) -> None:
    for name in sorted(names, key=lambda name: (name.endswith(".commit"), name)):
        target = objects / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            (place / name).rename(target)


def _commit_of(record: StoredArtifact) -> str:
    commit = record.value.get("commit") if isinstance(record.value, dict) else None
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise BuildError(f"{record.directory} names no commit but {str(commit)[:80]!r}")
    return commit


def _between(record: StoredArtifact) -> list[str]:
    try:
        said = json.loads(record.components.get("parameter between", "[]"))
    except ValueError:
        return []
    return [each for each in said if isinstance(each, str) and COMMIT.fullmatch(each)]
