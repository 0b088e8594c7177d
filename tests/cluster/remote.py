"""The least that a store with a remote must do, for tests of who builds where: finished artifacts are copied
to a directory that all have, and from it where they are needed.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.store import Scratch, Store, StoredArtifact


class Remote:
    def __init__(self, place: Path) -> None:
        self.place, self.url = place, f"file://{place}"

    def of(self, kind: str, key: str) -> Path:
        return self.place / kind / key


class CopyingStore(DirectoryStore):
    def __init__(self, root: Path, remote: Path) -> None:
        super().__init__(root)
        self.remote = Remote(remote)

    def find(self, kind: str, key: str) -> StoredArtifact | None:
        found = super().find(kind, key)
        file = self.remote.of(kind, key) / "artifact.json"
        if found is not None or not file.exists():
            return found
        data = json.loads(file.read_text())
        return StoredArtifact(
            self.root / "artifacts" / kind / key, data["value"], data["components"], data["seconds"]
        )

    def need(self, kind: str, key: str) -> StoredArtifact:
        here = self.root / "artifacts" / kind / key
        if not here.exists() and self.remote.of(kind, key).exists():
            shutil.copytree(self.remote.of(kind, key), here)
        return super().need(kind, key)

    def finish(
        self,
        scratch: Scratch,
        kind: str,
        key: str,
        *,
        value: Any,
        components: Mapping[str, str],
        seconds: float,
    ) -> StoredArtifact:
        made = super().finish(scratch, kind, key, value=value, components=components, seconds=seconds)
        self.remote.place.mkdir(exist_ok=True)
        if not self.remote.of(kind, key).exists():
            shutil.copytree(made.directory, self.remote.of(kind, key))
        return made


def open_store(root: Path, remote: Path | None) -> Store:
    return CopyingStore(root, remote) if remote is not None else DirectoryStore(root)
