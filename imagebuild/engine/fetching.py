"""An artifact is brought from a remote: every pack is checked against its sha256 before anything is renamed
into the store.
"""

import time
from collections.abc import Callable
from pathlib import Path

from imagebuild import files, steplog
from imagebuild.engine.packs import DamagedPackError, Pack, read_pack
from imagebuild.engine.remote import Remote
from imagebuild.engine.results import Result, blob_name, removal_hint, result_name
from imagebuild.engine.store import Scratch, remove
from imagebuild.errors import BuildError

# how often a pack is read that is not what its name says: a proxy, or memory, may have been at fault
TRIES = 2
UNPACKED = "unpacked"

Expects = Callable[[str, int], bool]


def fetch(remote: Remote, result: Result, scratch: Scratch) -> None:
    """Fill a scratch directory with the files of a result, and sync them. Raises BuildError."""
    begun, place = time.monotonic(), scratch.directory
    size = sum(pack.size for pack in result.packs)
    steplog.note(f"{steplog.STAGE}fetching {result.kind}-{result.key}, {size / 1e6:.1f} MB")
    try:
        for pack in result.packs:
            wanted = {(name, file.size) for name, file in pack.files.items()}
            names = receive(remote, result, pack, place / UNPACKED, lambda *one, wanted=wanted: one in wanted)
            if len(names) != len(wanted):
                raise _damaged(remote, result, pack, "it does not hold all of its files")
            for name in names:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / UNPACKED / name).replace(place / name)
        remove(place / UNPACKED)
        for name in result.directories:
            (place / name).mkdir(parents=True, exist_ok=True)
        for name, target in result.links.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to(target)
        files.sync_tree(place)
    except OSError as error:
        raise _unwritten(result, place, error) from error
    steplog.note(
        f"fetched {result.kind}-{result.key} from {remote.url}: {size / 1e6:.1f} MB in"
        f" {time.monotonic() - begun:.1f} s"
    )


def receive(remote: Remote, result: Result, pack: Pack, into: Path, expects: Expects) -> list[str]:
    """Write a pack's files below `into`, a new directory, and return their names. Raises BuildError for a
    pack that is damaged or gone.
    """
    for attempt in range(1, TRIES + 1):
        remove(into)
        into.mkdir(parents=True)
        try:
            stream = remote.open(blob_name(pack), pack.size)
            return read_pack(stream, into, expects, sha256=pack.sha256, size=pack.size)
        except DamagedPackError as error:
            if attempt == TRIES:
                raise _damaged(remote, result, pack, error.message) from error
            steplog.note(f"{remote.url}/{blob_name(pack)}: {error.message}: once more")
        except OSError as error:
            raise _unwritten(result, into, error) from error
        except BuildError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise _damaged(remote, result, pack, "it is not there") from error
            raise
    raise AssertionError("no attempt was made")


def _damaged(remote: Remote, result: Result, pack: Pack, why: str) -> BuildError:
    return BuildError(
        f"{remote.url}/{blob_name(pack)}, of {result.kind}-{result.key}, is not used: {why}",
        hint=removal_hint(result_name(result.kind, result.key), blob_name(pack)),
    )


def _unwritten(result: Result, place: Path, error: OSError) -> BuildError:
    return BuildError(
        f"{result.kind}-{result.key} cannot be written to {place}: {error.strerror or error}",
        hint="make space (imagebuild gc), or give --store a larger file system",
    )
