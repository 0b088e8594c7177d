"""A finished artifact is sent to a remote: its packs first, then its result, which only the first writer may
write.
"""

import contextlib
import os
import platform
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild import steplog
from imagebuild.engine.packs import Pack, write_pack
from imagebuild.engine.remote import Remote
from imagebuild.engine.results import FORMAT, Result, blob_name, dump, parse, result_name
from imagebuild.engine.store import StoredArtifact
from imagebuild.errors import BuildError

# smaller files share a pack: one request for all of them
LARGE = 1 << 20
# a pack that is there is younger than that, or is sent again: `sweep` removes only what is older (sweep.py)
FRESH_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Sent:
    """How it went: the result that is there now, whether it is ours, and what the first writer has made
    otherwise (None: nothing).
    """

    result: Result
    ours: bool
    difference: str | None


def publish(
    remote: Remote, record: StoredArtifact, kind: str, key: str, carried: Mapping[str, Path], spool: Path
) -> Sent:
    """Send an artifact, unless there is one of that key; then compare. `carried` (name -> file) is what it
    has outside its directory, `spool` a directory of this machine for what is under way. Raises BuildError.
    """
    begun = time.monotonic()
    with _packed(remote, record, kind, key, carried, spool) as (result, files):
        there = remote.read(result_name(kind, key))
        if there is None:
            sent = sum(_send(remote, pack, files[pack.sha256]) for pack in (*result.packs, *result.carried))
            data = dump(result)
            there = remote.create(result_name(kind, key), data)
            steplog.note(
                f"sent {kind}-{key} to {remote.url}: {sent / 1e6:.1f} MB in {time.monotonic() - begun:.1f} s"
            )
            if there == data:
                return Sent(result=result, ours=True, difference=None)
    winner = parse(there, kind, key, remote.url)
    return Sent(result=winner, ours=False, difference=result.difference(winner))


def _send(remote: Remote, pack: Pack, file: Path) -> int:
    """Send a pack unless it was sent lately; return the bytes that went."""
    name = blob_name(pack)
    seen = remote.look(name)
    if seen is not None and seen.size == pack.size and remote.now() - seen.modified < FRESH_SECONDS:
        return 0
    remote.send(name, file)
    return pack.size


@contextlib.contextmanager
def _packed(
    remote: Remote, record: StoredArtifact, kind: str, key: str, carried: Mapping[str, Path], spool: Path
) -> Iterator[tuple[Result, dict[str, Path]]]:
    """Yield the result of an artifact, and where its packs (by sha256) lie until the block ends."""
    regular, links, directories = _contents(record.directory)
    small = {name: file for name, file in regular.items() if file.stat().st_size < LARGE}
    groups = [small, *({name: file} for name, file in regular.items() if name not in small)]
    place, written = remote.spool(spool), list[Path]()

    def pack(sources: Mapping[str, Path]) -> Pack:
        # a name of its own: another machine may spool there, too
        file = place / f"{platform.node()}-{os.getpid()}-{secrets.token_hex(8)}"
        written.append(file)
        return write_pack(sources, file)

    try:
        packs = [pack(group) for group in groups if group]
        extra = [pack(carried)] if carried else []
        result = Result(
            format=FORMAT,
            kind=kind,
            key=key,
            components=dict(record.components),
            value=record.value,
            seconds=round(record.seconds, 3),
            files={name: file.size for one in packs for name, file in one.files.items() if name != "log"},
            packs=tuple(packs),
            # whoever receives them looks at their names
            carried=tuple(Pack(sha256=one.sha256, size=one.size, files={}) for one in extra),
            links=links,
            directories=tuple(directories),
            maker=platform.node(),
        )
        yield result, dict(zip([one.sha256 for one in (*packs, *extra)], written, strict=True))
    except OSError as error:
        raise BuildError(
            f"{kind}-{key} cannot be made ready to be sent to {remote.url}: {error}", hint="is the disk full?"
        ) from error
    finally:
        for file in written:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _contents(directory: Path) -> tuple[dict[str, Path], dict[str, str], list[str]]:
    """Return an artifact's regular files, its links and its empty directories, in order; sockets and such are
    not kept.
    """
    regular: dict[str, Path] = {}
    links: dict[str, str] = {}
    empty: list[str] = []
    for parent, folders, names in os.walk(directory / "out"):
        folders.sort()
        place = Path(parent)
        if not names and not folders and place != directory / "out":
            empty.append(str(place.relative_to(directory)))
        for file in (place / name for name in sorted([*names, *folders])):
            name = str(file.relative_to(directory))
            if file.is_symlink():
                links[name] = str(file.readlink())
            elif file.is_file():
                regular[name] = file
    if (directory / "log").is_file():
        regular["log"] = directory / "log"
    return regular, links, sorted(empty)
