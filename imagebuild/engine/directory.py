"""Finished artifacts by key: built in a scratch directory, synced, renamed into place; a lock per key;
garbage collection.

Layout of a store directory:

    artifacts/KIND/KEY/{artifact.json,log,out/}   finished, never changed again
    scratch/KIND-KEY/{log,out/}                   being built (by the holder of the lock)
    failed/KIND-KEY/{log,out/}                    the last failure of that key, for the reader
    locks/KIND-KEY                                flock(2)ed by who builds or removes it
    builds/TIME.json                              what a build used, a root of `collect` (builds.py)
    layout                                        the number of this layout (layout.py)
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from imagebuild import files, json_text
from imagebuild.engine.builds import Diary, Remembered, forget, is_running, remembered
from imagebuild.engine.layout import LAYOUT, layout_of, remark_on, write_layout
from imagebuild.engine.store import Json, Scratch, StoredArtifact, remove
from imagebuild.errors import BuildError

POLL_SECONDS = 0.2
# what reading a record raises that was cut, or is another program's
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)


class DirectoryStore:
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
            data = json_text.parse((directory / "artifact.json").read_text())
            record = StoredArtifact(
                directory, data["value"], dict(data["components"]), float(data["seconds"])
            )
            whole = all((directory / name).stat().st_size == size for name, size in data["files"].items())
        except DAMAGE:
            return None
        return record if whole else None

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Do nothing: here it makes no difference."""

    def need(self, kind: str, key: str) -> StoredArtifact:
        """Return the finished artifact of that key. Raises BuildError when there is none."""
        record = self.find(kind, key)
        if record is None:
            raise BuildError(
                f"the artifact {kind}-{key} is not in {self.root}",
                hint="it was removed, or damaged, since the build began: the same command builds it again",
            )
        return record

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
        target = self.root / "artifacts" / kind / key
        record = StoredArtifact(target, value, components, seconds)
        sizes = {
            str(file.relative_to(scratch.directory)): file.stat().st_size for file in _files(scratch.out)
        }
        seal(scratch, kind, key, record, sizes)
        files.sync_tree(scratch.directory)
        return self.settle(scratch, kind, key, record)

    def settle(self, scratch: Scratch, kind: str, key: str, record: StoredArtifact) -> StoredArtifact:
        """Rename a scratch directory that is sealed and on the disk into place. Hold the lock."""
        target = self.root / "artifacts" / kind / key
        target.parent.mkdir(exist_ok=True)
        remove(target)  # a damaged one that find() refused, or one that is replaced by another machine's
        scratch.directory.rename(target)
        files.sync(target.parent)
        files.sync(scratch.directory.parent)
        return record

    def fail(self, scratch: Scratch, kind: str, key: str, *, keep_output: bool) -> Path:
        """Move a failed scratch directory to `failed` and return where it lies now; its output goes unless it
        is evidence. One that is finished stays where it is.
        """
        if not scratch.directory.exists():
            return self.root / "artifacts" / kind / key
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
            if build not in old and (known := remembered(build)) is not None
            for kind, key in known.used.values()
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


def seal(scratch: Scratch, kind: str, key: str, record: StoredArtifact, sizes: Mapping[str, int]) -> None:
    """Write artifact.json into a scratch directory, and have it on the disk: `sizes` (bytes) are those of the
    files below `out`.
    """
    data = {
        "kind": kind,
        "key": key,
        "components": dict(record.components),
        "value": record.value,
        "files": dict(sizes),
        "seconds": round(record.seconds, 3),
    }
    files.replace(scratch.directory / "artifact.json", json.dumps(data, indent=1, sort_keys=True) + "\n")


def _files(directory: Path) -> list[Path]:
    return sorted(
        Path(root) / name
        for root, _, names in os.walk(directory)
        for name in names
        if not (Path(root) / name).is_symlink()
    )


def _space(directory: Path) -> int:
    return sum(file.lstat().st_blocks * 512 for file in _files(directory))
