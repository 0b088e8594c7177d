"""Two builds are the same: their stores, and their releases but for what tells when and where they were
made.
"""

import filecmp
import hashlib
import json
import os
import re
from pathlib import Path

# what tells when, where and how long, and what is signed: no two builds have these in common
EXCEPTED = (
    r"evidence/.*",
    r"report\.html",
    r"junit\.xml",
    r"verdict\.json",
    r"index\.html",
    r"timeline\..*",
    r".*CHECKSUM",
    r".*\.asc",
    r".*\.sig",
    r"metadata/attestation.*",
    r"metadata/.*\.sigstore\.json",
)
FACTS = "metadata/release.json"
BLOCK = 1 << 16


def compare_releases(one: Path, other: Path, *, count: int) -> None:
    """Assert that two directories hold the same `count` releases, but for what is excepted."""
    names = [{file.parent.name for file in place.glob("*/COMPOSE_ID")} for place in (one, other)]
    assert names[0] == names[1]
    assert len(names[0]) == count
    for name in names[0]:
        files = [
            {str(file.relative_to(place / name)) for file in (place / name).rglob("*") if file.is_file()}
            for place in (one, other)
        ]
        kept = [{file for file in found if not _excepted(file)} for found in files]
        assert kept[0] == kept[1]
        assert [file for file in kept[0] if file.endswith(".qcow2")]
        assert [file for file in kept[0] if file.startswith("metadata/")]
        told = [read_facts(place / name / FACTS) for place in (one, other)]
        assert told[0] == told[1]
        compared = sorted(kept[0] - {FACTS})
        _, different, unread = filecmp.cmpfiles(one / name, other / name, compared, shallow=False)
        assert (different, unread) == ([], []), name


def read_facts(file: Path) -> dict[str, object]:
    """Return what a release says of itself, without the seconds that boots took and how slow guests were."""
    data: dict[str, object] = json.loads(file.read_text())
    assert data.pop("slowness")
    downloads = data["downloads"]
    assert isinstance(downloads, list)
    for each in downloads:
        each.pop("boot")
    return data


def _excepted(file: str) -> bool:
    return any(re.fullmatch(pattern, file) for pattern in EXCEPTED)


def artifacts_of(store: Path) -> dict[str, str]:
    """Return what is finished in a store, path below `artifacts` -> digest: without logs, the seconds that
    they took, and when a static delta was made, which its superblock says
    (ostree-repo-static-delta-compilation.c, ostree_repo_static_delta_generate).
    """
    found: dict[str, str] = {}
    place = store / "artifacts"
    for file in sorted(path for path in place.rglob("*") if path.is_file()):
        name = str(file.relative_to(place))
        inside = name.split("/", 2)[2]
        if inside == "artifact.json":
            data = json.loads(file.read_text())
            data.pop("seconds")
            if inside_delta(name):
                data["value"].pop("digest")
            found[name] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
        elif inside_delta(name) and file.name == "superblock":
            found[name] = "there"
        elif inside != "log" and not _excepted(inside.removeprefix("out/")):
            found[name] = content_digest(file)
    return found


def inside_delta(name: str) -> bool:
    """Whether a file of a store belongs to a static delta."""
    return name.startswith("delta.make_delta/")


def content_digest(file: Path) -> str:
    """Return a digest of a file's size and of those of its blocks that are not empty: holes are not read."""
    digest, size, offset = hashlib.sha256(), file.stat().st_size, 0
    digest.update(str(size).encode())
    with file.open("rb", buffering=0) as stream:
        while offset < size:
            try:
                offset = os.lseek(stream.fileno(), offset, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:
                break
            data = os.pread(stream.fileno(), BLOCK, offset)
            if data.strip(b"\0"):
                digest.update(str(offset).encode() + data)
            offset += BLOCK
    return digest.hexdigest()
