"""The static delta by which hosts of an earlier release come to this one: made before the gate, so that its
size is known, and what is tested is what is published.

ostree(1), "static-delta generate": the parts are files below `deltas` of a repository; a client finds them by
the repository's summary.
"""

import hashlib
from pathlib import Path

from imagebuild import steplog
from imagebuild.model import Delta, Tree
from imagebuild.tools.ostree import deltas
from imagebuild.tools.ostree.repository import Repo


def make_delta(out: Path, tree: Tree, older: Tree) -> Delta:
    """Make the static delta from an older tree of the pipeline's repository. Raises CommandError."""
    place = out / deltas.DIRECTORY
    deltas.make(Repo(tree.repo), older.commit, tree.commit, place)
    found = hashlib.sha256()
    parts = sorted(path for path in place.rglob("*") if path.is_file())
    for part in parts:
        found.update(f"{part.relative_to(place)}\0".encode() + hashlib.sha256(part.read_bytes()).digest())
    size = sum(part.stat().st_size for part in parts)
    steplog.note(f"static delta from {older.version} to {tree.version}: {size / 1e6:.1f} MB")
    return Delta(base=older.commit, commit=tree.commit, place=place, size=size, digest=found.hexdigest())
