"""What a store is: finished artifacts by key, and who may build one now. Nothing here knows what an artifact
is.

`DirectoryStore` (directory.py) is a directory of this machine. `SharedStore` (shared.py) is such a directory
and a remote that several machines have in common.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from imagebuild.engine.builds import Diary, Remembered

Json = Any


@dataclass(frozen=True)
class StoredArtifact:
    """One finished artifact: its directory and what artifact.json says. `remark` is what a person wants to
    know of how it came here (None: nothing).
    """

    directory: Path
    value: Json
    components: Mapping[str, str]
    seconds: float
    remark: str | None = None

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


class Store(Protocol):
    """Finished artifacts by key. `root` is the directory of this machine in which they lie or will lie;
    `remark` is what a person wants to know of it (None: nothing).
    """

    root: Path
    remark: str | None

    def find(self, kind: str, key: str) -> StoredArtifact | None:
        """Return the finished artifact of that key, or None. Its files may be elsewhere still: `need` brings
        them.
        """
        ...

    def expect(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Hear which artifacts (kind, key) are about to be looked for, all at once rather than one by one."""
        ...

    def need(self, kind: str, key: str) -> StoredArtifact:
        """Return the finished artifact of that key, its files being here. Raises BuildError when there is
        none.
        """
        ...

    def lock(self, kind: str, key: str) -> AbstractContextManager[None]:
        """Hold the key's lock on this machine; while another builder has it, wait."""
        ...

    def at_work(self) -> bool:
        """Whether any builder of this machine holds a lock now."""
        ...

    def busy(self, kind: str, key: str) -> bool:
        """Whether another builder of this machine has the key's lock now."""
        ...

    def scratch(self, kind: str, key: str) -> Scratch:
        """Return a new scratch directory. Hold the lock."""
        ...

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
        """Make a scratch directory a finished artifact. Hold the lock."""
        ...

    def fail(self, scratch: Scratch, kind: str, key: str, *, keep_output: bool) -> Path:
        """Set a failed scratch directory aside and return where it lies now."""
        ...

    def remember(self, used: Mapping[str, tuple[str, str]]) -> Diary:
        """Begin to write down what one build uses, step name -> (kind, key)."""
        ...

    def builds(self) -> list[Remembered]:
        """Return every remembered build of this machine, oldest first."""
        ...

    def collect(self, keep: int) -> tuple[int, list[str]]:
        """Remove what none of the newest `keep` builds of this machine used; return bytes freed, and names of
        what was in use.
        """
        ...


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
