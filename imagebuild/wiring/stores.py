"""Stores are opened: a directory alone, or one with a remote that several machines share."""

from pathlib import Path

from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.remote import PATIENT, Patience, Remote
from imagebuild.engine.shared import SharedStore
from imagebuild.engine.store import Store
from imagebuild.tools.ostree.carrier import CommitCarrier

# by the kind of an artifact (engine/steps.py, kind_of)
CARRIERS = {
    "tree.pull_tree": CommitCarrier(sets_ref=True),
    "tree.pull_commit": CommitCarrier(sets_ref=False),
}
# what guests did, and when: never the same twice
VARYING = ("install.install_iso", "smoke.smoke_disk", "smoke.smoke_installation", "smoke.smoke_test")


def open_store(root: Path, remote: str | None = None, *, patience: Patience = PATIENT) -> Store:
    """Open the store at `root`, with a remote's address (file:///DIRECTORY, s3://BUCKET/PATH) as part of it.

    Raises UsageError for a newer store, and for what is not such an address; BuildError where the remote does
    not work.
    """
    directory = DirectoryStore(root)
    if remote is None:
        return directory
    return SharedStore(directory, Remote(remote, patience), CARRIERS, VARYING)
