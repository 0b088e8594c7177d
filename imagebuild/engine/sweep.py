"""What a remote holds that nobody needs any more is removed: with a grace period, so that nothing goes that a
build under way has found there, or has just sent.

Kept is what the newest builds used, and what any build used that began within the grace period. Everything
else goes when it is older than that period, by the remote's own clock. A pack that is used again after a day
is sent again (publishing.py), which makes it young; its age is asked for once more before it goes.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from imagebuild.engine.drives import Seen
from imagebuild.engine.mounted_drive import PARTIAL
from imagebuild.engine.remote import BUILDS, CELLS, PROBES, Remote
from imagebuild.engine.results import DIRECTORY, pair_of, parse, result_name
from imagebuild.errors import BuildError, UsageError

DAY = 24 * 3600.0
# twice what a pack may be old that is not sent again, and longer than any build
LEAST_DAYS = 2
# as cells of a directory: a release line's pause
CELL_DAYS = 90.0
# requests on their way at the same time
PARALLEL = 16


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What was removed of a remote, and its bytes."""

    results: int
    objects: int
    size: int


def sweep(remote: Remote, *, keep: int, grace_days: int) -> Swept:
    """Remove what neither the newest `keep` builds used nor any that began in the last `grace_days`. Raises
    BuildError, and UsageError for a period shorter than `LEAST_DAYS`.
    """
    if grace_days < LEAST_DAYS:
        raise UsageError(
            f"{grace_days} days are too short a grace period: a build under way would lose what it has found",
            hint=f"give {LEAST_DAYS} days or more",
        )
    oldest = remote.now() - grace_days * DAY
    builds, used = _builds(remote, keep, oldest)
    results = remote.listing(DIRECTORY)
    pairs = {name: pair for name in results if (pair := pair_of(name)) is not None}
    doomed = {name for name, pair in pairs.items() if pair not in used and results[name].modified < oldest}
    needed = _blobs(remote, [pair for name, pair in pairs.items() if name not in doomed])
    # builds have begun meanwhile: a result takes a request to read
    spared = {pair for pair in _builds(remote, keep, oldest)[1] if result_name(*pair) in doomed}
    doomed -= {result_name(*pair) for pair in spared}
    needed |= _blobs(remote, spared)
    # a result goes before what it names: whoever finds one finds everything
    _remove(remote, doomed)
    blobs = remote.listing("blobs/")
    unused = [name for name, seen in blobs.items() if name not in needed and seen.modified < oldest]
    gone = _remove_old(remote, unused, oldest)
    gone |= _remove_old(
        remote, _older(remote.listing(CELLS), oldest - (CELL_DAYS - grace_days) * DAY), oldest
    )
    for rest in (PROBES, f"{PARTIAL}/"):
        gone |= _remove_old(remote, _older(remote.listing(rest), oldest), oldest)
    _remove(remote, builds)
    return Swept(results=len(doomed), objects=len(gone), size=sum(gone.values()))


def _builds(remote: Remote, keep: int, oldest: float) -> tuple[list[str], set[tuple[str, str]]]:
    """Return the builds that are forgotten, and (kind, key) of what the others used."""
    listed = sorted(remote.listing(BUILDS).items(), key=lambda item: (item[1].modified, item[0]))
    old = listed[: max(0, len(listed) - keep)]
    forgotten = [name for name, seen in old if seen.modified < oldest]
    used: set[tuple[str, str]] = set()
    for name, _ in listed:
        if name not in forgotten:
            said = remote.read_json(name)
            if not isinstance(said, dict):
                raise BuildError(
                    f"{remote.url}/{name} does not say what a build uses: nothing was removed",
                    hint="find out who wrote it; then remove it",
                )
            used |= {(str(kind), str(key)) for kind, key in said.values()}
    return forgotten, used


def _blobs(remote: Remote, pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Return the names of all objects that results need. Raises BuildError for one that cannot be read: then
    nothing may go.
    """

    def needed(pair: tuple[str, str]) -> set[str]:
        data = remote.read(result_name(*pair))
        return set(parse(data, *pair, remote.url).blobs()) if data is not None else set()

    with ThreadPoolExecutor(PARALLEL) as pool:
        return set().union(*pool.map(needed, pairs))


def _older(listed: dict[str, Seen], oldest: float) -> list[str]:
    return [name for name, seen in listed.items() if seen.modified < oldest]


def _remove_old(remote: Remote, names: Iterable[str], oldest: float) -> dict[str, int]:
    """Remove what is still old now, and return name -> bytes of what went."""

    def remove(name: str) -> tuple[str, int]:
        seen = remote.look(name)
        if seen is None or seen.modified >= oldest:
            return name, -1
        remote.remove(name)
        return name, seen.size

    with ThreadPoolExecutor(PARALLEL) as pool:
        return {name: size for name, size in pool.map(remove, names) if size >= 0}


def _remove(remote: Remote, names: Iterable[str]) -> None:
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(remote.remove, names))
