"""Finished artifacts by key: built in a scratch directory, synced, renamed into place; a lock per key;
garbage collection.

Layout of a store directory:

    artifacts/KIND/KEY/{artifact.json,log,out/}   finished, never changed again
    scratch/KIND-KEY/{log,out/}                   being built (by the holder of the lock)
    failed/KIND-KEY/{log,out/}                    the last failure of that key, for the reader
    locks/KIND-KEY                                flock(2)ed by who builds or removes it
    builds/TIME.json                              what a build used, a root of `collect` (builds.py)
    layout                                        the number of this layout (layout.py)

Nothing here knows what an artifact is.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild import files
from imagebuild.engine.builds import Diary, Remembered, forget, is_running, remembered
from imagebuild.engine.layout import LAYOUT, layout_of, remark_on, write_layout
from imagebuild.errors import BuildError

Json = Any
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StoredArtifact:
    """One finished artifact: its directory and what artifact.json says."""

    directory: Path
    value: Json
    components: Mapping[str, str]
    seconds: float

    @property
    def log(self) -> Path:
        """The log of the step that made it."""
        return self.directory / "log"


class Scratch:
    """The empty directory a step fills: `out` for its files, `log` beside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "out"
        self.log = directory / "log"
        self.out.mkdir(parents=True)
        self.log.touch()


class Store:
    """A directory of finished artifacts, shared by any number of processes. `remark`: it is an older
    imagebuild's.

    Raises UsageError for the store of a newer imagebuild, in which nothing is changed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        layout = layout_of(self.root)
        self.remark = remark_on(self.root, layout)
        self.root.mkdir(parents=True, exist_ok=True)
        if layout == LAYOUT and not (self.root / "layout").exists():
            # before there is anything in it that would look like an older one's
            write_layout(self.root)
        for name in ("artifacts", "scratch", "failed", "locks", "builds"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def find(self, kind: str, key: str) -> StoredArtifact | None:
        """Return the finished artifact of that key, or None when there is none or a file of it was cut or
        lost.
        """
        directory = self.root / "artifacts" / kind / key
        try:
            data = json.loads((directory / "artifact.json").read_text())
            whole = all((directory / name).stat().st_size == size for name, size in data["files"].items())
        except (OSError, ValueError, KeyError):
            return None
        return (
            StoredArtifact(directory, data["value"], data["components"], data["seconds"]) if whole else None
        )

    def need(self, kind: str, key: str) -> StoredArtifact:
        """Return the finished artifact of that key, its files being here. Raises BuildError when there is
        none.
        """
        found = self.find(kind, key)
        if found is None:
            raise BuildError(
                f"{self.root} has no whole artifact {kind} {key}", hint="imagebuild all makes it again"
            )
        return found

    @contextlib.contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold the key's lock; while another builder has it, wait. It is given back when its holder dies,
        however it dies.
        """
        with (self.root / "locks" / f"{kind}-{key}").open("a") as handle:
            while not files.try_lock(handle.fileno()):
                time.sleep(POLL_SECONDS)
            yield

    def at_work(self) -> bool:
        """Whether any builder holds a lock here now."""
        for file in (self.root / "locks").iterdir():
            with file.open("a") as handle:
                if not files.try_lock(handle.fileno()):
                    return True
        return False

    def busy(self, kind: str, key: str) -> bool:
        """Whether another builder has the key's lock now."""
        if not (self.root / "locks" / f"{kind}-{key}").exists():
            return False
        with (self.root / "locks" / f"{kind}-{key}").open("a") as handle:
            return not files.try_lock(handle.fileno())

    def scratch(self, kind: str, key: str) -> Scratch:
        """Return a new scratch directory; what a killed builder left there is removed. Hold the lock."""
        directory = self.root / "scratch" / f"{kind}-{key}"
        remove(directory)
        return Scratch(directory)

    def finish(
        self,
        scratch: Scratch,
        kind: str,
        key: str,
        *,
        value: Json,
        components: Mapping[str, str],
        seconds: float,
    ) -> StoredArtifact:
        """Sync the scratch directory to disk and rename it into place. Hold the lock."""
        sizes = {
            str(file.relative_to(scratch.directory)): file.stat().st_size for file in _files(scratch.out)
        }
        data = {
            "kind": kind,
            "key": key,
            "components": dict(components),
            "value": value,
            "files": sizes,
            "seconds": round(seconds, 3),
        }
        (scratch.directory / "artifact.json").write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        files.sync_tree(scratch.directory)
        target = self.root / "artifacts" / kind / key
        target.parent.mkdir(exist_ok=True)
        remove(target)  # only a damaged one can be there: find() refused it
        scratch.directory.rename(target)
        files.sync(target.parent)
        files.sync(scratch.directory.parent)
        return StoredArtifact(target, value, components, seconds)

    def fail(self, scratch: Scratch, kind: str, key: str, *, keep_output: bool) -> Path:
        """Move a failed scratch directory to `failed` and return where it lies now; its output goes unless it
        is evidence.
        """
        if not keep_output:
            remove(scratch.out)
        target = self.root / "failed" / f"{kind}-{key}"
        remove(target)
        scratch.directory.rename(target)
        return target

    def remember(self, used: Mapping[str, tuple[str, str]]) -> Diary:
        """Begin to write down what one build uses, step name -> (kind, key): these artifacts are kept by
        `collect`. From then on the store's layout is ours.
        """
        if self.remark is not None:
            write_layout(self.root)
        return Diary(self.root / "builds", used)

    def builds(self) -> list[Remembered]:
        """Return every remembered build, oldest first."""
        return [build for file in self._builds() if (build := remembered(file)) is not None]

    def _builds(self) -> list[Path]:
        return sorted((self.root / "builds").glob("*.json"))

    def collect(self, keep: int) -> tuple[int, list[str]]:
        """Remove every artifact that neither the newest `keep` builds used nor one that runs, and what killed
        or failed builds left.

        Returns bytes freed and the names of what was in use by another imagebuild and stayed.
        """
        builds = self._builds()
        # what runs now is needed, however many builds have begun since
        old = [build for build in builds[: max(0, len(builds) - keep)] if not is_running(build)]
        kept = {
            f"{kind}-{key}"
            for build in builds
            if build not in old
            for kind, key in json.loads(build.read_text()).values()
        }
        for build in old:
            forget(build)
        freed, busy = 0, []
        places = [
            *(self.root / "artifacts").glob("*/*"),
            *(self.root / "scratch").iterdir(),
            *(self.root / "failed").iterdir(),
        ]
        for place in places:
            finished = place.parent.parent.name == "artifacts"
            name = f"{place.parent.name}-{place.name}" if finished else place.name
            if finished and name in kept:
                continue
            with (self.root / "locks" / name).open("a") as handle:
                if files.try_lock(handle.fileno()):
                    freed += _space(place)
                    remove(place)
                else:
                    busy.append(name)
        return freed, busy


def remove(path: Path) -> None:
    """Remove a directory tree if it is there, also one with directories that forbid writing. Never follows
    links.
    """
    if not path.is_symlink() and not path.exists():
        return

    def unlock(function: Callable[..., Any], name: str, _: object) -> None:
        Path(name).parent.chmod(0o700)
        if Path(name).is_dir() and not Path(name).is_symlink():
            Path(name).chmod(0o700)
        function(name)

    # artifact.json goes first: a removal that is killed half-way must not leave something that looks finished
    (path / "artifact.json").unlink(missing_ok=True)
    shutil.rmtree(path, onerror=unlock)


def _files(directory: Path) -> list[Path]:
    return sorted(
        Path(root) / name
        for root, _, names in os.walk(directory)
        for name in names
        if not (Path(root) / name).is_symlink()
    )


def _space(directory: Path) -> int:
    return sum(file.lstat().st_blocks * 512 for file in _files(directory))
