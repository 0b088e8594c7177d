"""The only door to everything temporary: nothing of it outlives the run that made it, however that run ended.

Directories and files are made here; `own_place` is where they lie and who sweeps them, `removal` how a
directory goes whose mounts and loop devices are still there, `gpg_agents` what is told to end before.
"""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools.own_place import (
    ELSEWHERE,
    LONGEST,
    MANY,
    PLACES,
    SECRET,
    adopt,
    base_of_all,
    clear,
    forget_secrets,
    place_for,
    short_name,
    short_place,
    sweep,
)
from imagebuild.tools.removal import mounts_below, remove

__all__ = [
    "LONGEST",
    "PLACES",
    "adopt",
    "clear",
    "directory",
    "file",
    "for_child",
    "forget_secrets",
    "mounts_below",
    "open_to_all",
    "remove",
    "sweep",
    "within",
]


@contextlib.contextmanager
def directory(
    name: str,
    *,
    base: Path | None = None,
    secret: bool = False,
    sockets: bool = False,
    remover: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """Make a directory (0700) that is removed when the block ends, or by the next run if this one is killed.

    `base`: a file system with room for large things, swept by the next run that uses it, and by every one
    with this TMPDIR unless a `remover` is needed; not given: TMPDIR. `secret`: private keys go there.
    `sockets`: its path is at most `LONGEST` bytes long, wherever TMPDIR is. `remover` stands for `remove`
    where files have owners that only a namespace knows; it must be given to `sweep`, too. Raises BuildError.
    """
    made = _make(short_place() if sockets else place_for(base), name, SECRET if secret else "")
    link = _registered(made) if base is not None and remover is None else None
    try:
        yield made
    finally:
        (remover or remove)(made)
        if link is not None:
            link.unlink(missing_ok=True)


@contextlib.contextmanager
def file(name: str, *, secret: bool = False) -> Iterator[Path]:
    """Name a file that can be written, alone in a directory; it is removed when the block ends."""
    with directory("file", secret=secret) as place:
        yield place / name


@contextlib.contextmanager
def within(place: Path, name: str) -> Iterator[Path]:
    """Make a directory in a place that is not ours: its file system or its permissions are wanted. Removed as
    any other.
    """
    made = _make(place, name, "")
    link = _registered(made)
    try:
        yield made
    finally:
        remove(made)
        link.unlink(missing_ok=True)


@contextlib.contextmanager
def open_to_all(name: str) -> Iterator[Path]:
    """Make a directory (0755) that other users can look into, too: root of a user namespace is one."""
    with within(base_of_all(), f"imagebuild-{name}") as made:
        made.chmod(0o755)
        yield made


def _registered(made: Path) -> Path:
    links = place_for(None) / ELSEWHERE
    links.mkdir(exist_ok=True)
    link = links / secrets.token_hex(8)
    link.symlink_to(made.absolute())
    return link


def _make(parent: Path, name: str, suffix: str) -> Path:
    for _ in range(MANY):
        made = parent / f"{name}-{secrets.token_hex(2)}{suffix}"
        try:
            made.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise BuildError(
                f"no temporary directory can be made in {parent}: {error}",
                hint="set TMPDIR to a directory with room",
            ) from error
        return made
    raise BuildError(f"no free name in {parent}", hint="imagebuild gc removes what dead runs left there")


@contextlib.contextmanager
def for_child(name: str) -> Iterator[Mapping[str, str]]:
    """Yield the environment of a program of ours: what it makes belongs to this process, and is removed when
    the block ends.
    """
    with directory(name) as place, directory(name, sockets=True) as short:
        yield {PLACES: json.dumps([str(place), str(short)]), "TMPDIR": str(short_name(place, short))}
