"""What a store, its remote, the caches and temporary directories hold that nobody needs any more."""

from pathlib import Path

from imagebuild.config.places import cache_directory
from imagebuild.deploy import offline
from imagebuild.engine.directory import DirectoryStore
from imagebuild.engine.remote import Remote
from imagebuild.engine.sweep import Swept, sweep
from imagebuild.errors import UsageError
from imagebuild.smoke import cells, saved_boot
from imagebuild.tools import temporary

# nothing younger goes from a remote store: longer than any build, and than a weekend
GRACE_DAYS = 7


def collect(store: Path, keep: int) -> tuple[int, list[str]]:
    """Remove artifacts that none of the newest `keep` builds used, saved boots of such, old cells, and what
    killed builds left.

    Returns the bytes that are free now, and the artifacts that another imagebuild uses. Raises UsageError
    when there is no store.
    """
    if not store.is_dir():
        raise UsageError(f"there is no store at {store}")
    freed, busy = DirectoryStore(store).collect(keep)
    freed += cells.collect(store / "cells") + cells.collect(cache_directory() / "consoles")
    # after the artifacts: a saved boot goes with the one that it is of
    freed += saved_boot.collect(store / "saved-boots")
    # large things are made in /var/tmp unless configured otherwise: those are found from TMPDIR
    freed += temporary.sweep() + offline.sweep() + temporary.sweep(Path("/var/tmp"))
    return freed, list(busy)


def collect_remote(url: str, keep: int, grace_days: int = GRACE_DAYS) -> Swept:
    """Remove from a remote store what neither its newest `keep` builds used nor any build that began in the
    last `grace_days`. Raises UsageError, BuildError.
    """
    return sweep(Remote(url), keep=keep, grace_days=grace_days)
