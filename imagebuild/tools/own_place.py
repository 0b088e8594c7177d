"""A process's own directory below TMPDIR, locked as long as it lives; what dead processes left is swept.

    TMPDIR/imagebuild-UID/           0700
        PID-XXXX.lock                flock(2)ed by the process as long as it lives
        PID-XXXX/                    everything temporary of that process and of the programs that it runs
            NAME-XXXX/               a `temporary.directory`
            NAME-XXXX.secret/        one with private keys in it: gone the moment a run is interrupted
            elsewhere/N              link to a directory that had to be made elsewhere (`temporary.within`)

Whose lock is free is dead: the next run removes what it left, and so does `imagebuild gc`. Mounts are
unmounted before, and what cannot be unmounted stays; a GnuPG agent is told to end.
"""

import atexit
import contextlib
import fcntl
import json
import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools.gpg_agents import tell_agents
from imagebuild.tools.removal import remove, remove_unmounted, space_of

# where a program of ours, whose parent owns everything temporary, finds its place, and a short one: a list in
# JSON
PLACES = "IMAGEBUILD_TEMPORARY"
# bytes of a directory's path that leave room for sockets: unix(7) has 107 for them, and ssh's mux.c adds 17
# to ControlPath while it listens
LONGEST = 70
SECRET, ELSEWHERE, LOCK = ".secret", "elsewhere", ".lock"
MANY = 100


@dataclass(eq=False)
class _Place:
    """A process's own place below a base, and the open lock file (a descriptor) that says so."""

    path: Path
    lock: int
    process: int = field(default_factory=os.getpid)


_places: dict[Path, _Place] = {}
_given: Path | None = None
_guard = threading.RLock()
_over = False


def place_for(base: Path | None) -> Path:
    """Return the place of this process, or of the parent that owns it, below a base (None: TMPDIR)."""
    given = os.environ.get(PLACES)
    if base is None and given:
        return Path(json.loads(given)[0])
    return _own(base or base_of_all()).path


def short_place() -> Path:
    """Return a place whose path leaves room for sockets."""
    given = os.environ.get(PLACES)
    if given:
        return Path(json.loads(given)[1])
    # the longest that is made below
    room = LONGEST - len(f"/imagebuild-{os.geteuid()}/4194304-0000/criteria-0000/gpg-0000{SECRET}")
    bases = [base_of_all(), Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")), Path("/tmp")]
    short = next(
        (base for base in bases if len(os.fsencode(base)) <= room and os.access(base, os.W_OK)), Path("/tmp")
    )
    return _own(short).path


def base_of_all() -> Path:
    """Return what TMPDIR was before `adopt`."""
    return _given or Path(tempfile.gettempdir())


def adopt() -> None:
    """Let everything that libraries and programs put into TMPDIR from now on lie in this process's place,
    too.

    libostree has its keyrings there (ostree-gpg-verifier.c), rpmbuild its scripts, mmdebstrap whole trees.
    Where no place can be made, nothing changes: whoever needs one hears why.
    """
    global _given  # noqa: PLW0603  # what TMPDIR was before is where places are
    if PLACES not in os.environ:
        with contextlib.suppress(BuildError, OSError):
            base = Path(tempfile.gettempdir())
            place, short = _own(base).path, short_place()
            os.environ["TMPDIR"] = tempfile.tempdir = str(short_name(place, short))
            _given = base


def _own(base: Path) -> _Place:
    base = base.absolute()
    with _guard:
        if base not in _places:
            if _over:
                raise BuildError("interrupted")
            sweep(base)
            _places[base] = _claimed(base)
        return _places[base]


def _root(base: Path) -> Path:
    """Return this user's directory below a base. Raises BuildError when somebody else was there before."""
    root = base / f"imagebuild-{os.geteuid()}"
    try:
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700)
        facts = root.lstat()
    except OSError as error:
        raise BuildError(
            f"{root} cannot be made: {error}", hint="set TMPDIR to a directory that can be written to"
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise BuildError(
            f"{root} is not a directory of this user", hint="remove it, or set TMPDIR to another directory"
        )
    if facts.st_mode & 0o077:
        root.chmod(0o700)
    return root


def _claimed(base: Path) -> _Place:
    for _ in range(MANY):
        place = _root(base) / f"{os.getpid()}-{secrets.token_hex(2)}"
        lock = _lock_of(place)
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except (FileExistsError, FileNotFoundError):
            # the name is taken, or the last one who was here has tidied up behind himself
            continue
        # a sweeper may have been quicker
        if _take(handle, lock):
            place.mkdir(mode=0o700)
            return _Place(place, handle)
        os.close(handle)
        lock.unlink(missing_ok=True)
    raise BuildError(
        f"no file can be locked in {base}", hint="set TMPDIR to a directory of a local file system"
    )


def _lock_of(place: Path) -> Path:
    return place.with_name(place.name + LOCK)


def _take(handle: int, lock: Path) -> bool:
    """Lock an open file; whether it is ours now, and still the one that lies there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock.stat().st_ino == os.fstat(handle).st_ino
    except OSError:
        return False


def _forget() -> None:
    """Own nothing: a forked process must not remove what is its parent's."""
    global _guard  # noqa: PLW0603  # the parent's may be held by a thread that is not here
    _guard = threading.RLock()
    for place in _places.values():
        os.close(place.lock)
    _places.clear()


os.register_at_fork(after_in_child=_forget)


def sweep(base: Path | None = None, *, remover: Callable[[Path], None] | None = None) -> int:
    """Remove what dead runs left below a base (not given: TMPDIR and wherever else it goes by itself); return
    the bytes freed.
    """
    bases = (
        {base}
        if base is not None
        else {base_of_all(), Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")), Path("/tmp")}
    )
    return sum(
        _sweep_one(lock, remover or remove)
        for directory in bases
        for lock in sorted((directory / f"imagebuild-{os.geteuid()}").glob(f"*{LOCK}"))
    )


def _sweep_one(lock: Path, remover: Callable[[Path], None]) -> int:
    try:
        if lock.parent.is_symlink() or lock.lstat().st_uid != os.geteuid():
            return 0
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        # another sweeper was quicker
        return 0
    try:
        return _remove_place(lock.with_suffix(""), remover) if _take(handle, lock) else 0
    finally:
        os.close(handle)


def _remove_place(place: Path, remover: Callable[[Path], None]) -> int:
    """Remove a place whose lock is held by us, and the lock with it; return the bytes freed. What is mounted
    and stays so keeps the lock.
    """
    links = list((place / ELSEWHERE).iterdir()) if (place / ELSEWHERE).is_dir() else []
    freed = sum(space_of(path) for path in (place, *(link.resolve() for link in links)))
    for link in links:
        # a thread that has just ended tidies up behind itself at the same time
        with contextlib.suppress(OSError):
            target = link.readlink()
            if target.is_dir() and not target.is_symlink() and target.lstat().st_uid == os.geteuid():
                remove(target)
    remover(place)
    if not place.exists():
        _lock_of(place).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()
    return freed


def short_name(place: Path, short: Path) -> Path:
    """Return a name of a place that is short enough for the GnuPG homes that libostree makes there, in
    `short` if it needs another one.
    """
    if len(os.fsencode(place)) <= LONGEST - len("/ostree-gpg-XXXXXX"):
        return place
    link = short / "t"
    link.symlink_to(place)
    return link


def forget_secrets() -> None:
    """Remove every directory with private keys now, of this process and of its children, whoever uses it; the
    rest waits for `clear`.
    """
    for place in [own.path for own in list(_places.values()) if own.process == os.getpid()]:
        for root, names, _ in os.walk(place):
            for name in [name for name in names if name.endswith(SECRET)]:
                tell_agents(Path(root) / name)
                remove_unmounted(Path(root) / name)


def clear() -> None:
    """Remove everything temporary of this process: at its end, when all programs have ended. Nothing new can
    be made any more.
    """
    global _over  # noqa: PLW0603  # threads that still run must not begin anew
    _over = True
    for base, place in list(_places.items()):
        if place.process == os.getpid():
            with contextlib.suppress(OSError):
                _remove_place(place.path, remove)
            del _places[base]
            os.close(place.lock)


atexit.register(clear)
