"""The one place for everything temporary: nothing of it outlives the run that made it, however that run
ended.

    TMPDIR/imagebuild-UID/           0700
        PID-XXXX.lock                flock(2)ed by the process as long as it lives
        PID-XXXX/                    everything temporary of that process and of the programs that it runs
            NAME-XXXX/               one `directory`
            NAME-XXXX.secret/        one with private keys in it: gone the moment a run is interrupted
            elsewhere/N              link to a directory that had to be made somewhere else (`within`)

Whose lock is free is dead: the next run removes what it left, and so does `imagebuild gc`. Mounts are
unmounted before, and what cannot be unmounted stays; a GnuPG agent is told to end.
"""

import atexit
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError
from imagebuild.tools import command

# where a program of ours, whose parent owns everything temporary, finds its place, and a short one: a list in
# JSON
PLACES = "IMAGEBUILD_TEMPORARY"
# bytes of a directory's path that leave room for sockets: unix(7) has 107 for them, and ssh's mux.c adds 17
# to ControlPath while it listens
LONGEST = 70
SECRET, ELSEWHERE, LOCK = ".secret", "elsewhere", ".lock"
AGENT, AGENT_SECONDS = "S.gpg-agent", 2.0
TRIES, MANY = 5, 100


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


# --- making -------------------------------------------------------------------------------------------------


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
    made = _make(_short_place() if sockets else _place(base), name, SECRET if secret else "")
    link = _registered(made) if base is not None and remover is None else None
    try:
        yield made
    finally:
        (remover or remove)(made)
        if link is not None:
            link.unlink(missing_ok=True)


@contextlib.contextmanager
def file(name: str, *, secret: bool = False) -> Iterator[Path]:
    """Name a file that can be written, in a directory of its own; it is removed when the block ends."""
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
    with within(_base(), f"imagebuild-{name}") as made:
        made.chmod(0o755)
        yield made


def _registered(made: Path) -> Path:
    known = _place(None) / ELSEWHERE
    known.mkdir(exist_ok=True)
    link = known / secrets.token_hex(8)
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
        yield {PLACES: json.dumps([str(place), str(short)]), "TMPDIR": str(_short_name(place, short))}


def _short_name(place: Path, short: Path) -> Path:
    """Return a name of a place that is short enough for the GnuPG homes that libostree makes there, in
    `short` if it needs another one.
    """
    if len(os.fsencode(place)) <= LONGEST - len("/ostree-gpg-XXXXXX"):
        return place
    link = short / "t"
    link.symlink_to(place)
    return link


# --- owning -------------------------------------------------------------------------------------------------


def _place(base: Path | None) -> Path:
    given = os.environ.get(PLACES)
    if base is None and given:
        return Path(json.loads(given)[0])
    return _own(base or _base()).path


def _short_place() -> Path:
    given = os.environ.get(PLACES)
    if given:
        return Path(json.loads(given)[1])
    # the longest that is made below
    room = LONGEST - len(f"/imagebuild-{os.geteuid()}/4194304-0000/criteria-0000/gpg-0000{SECRET}")
    wanted = [_base(), Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")), Path("/tmp")]
    short = next(
        (each for each in wanted if len(os.fsencode(each)) <= room and os.access(each, os.W_OK)), Path("/tmp")
    )
    return _own(short).path


def _base() -> Path:
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
            place, short = _own(base).path, _short_place()
            os.environ["TMPDIR"] = tempfile.tempdir = str(_short_name(place, short))
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
        found = root.lstat()
    except OSError as error:
        raise BuildError(
            f"{root} cannot be made: {error}", hint="set TMPDIR to a directory that can be written to"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise BuildError(
            f"{root} is not a directory of this user", hint="remove it, or set TMPDIR to another directory"
        )
    if found.st_mode & 0o077:
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


# --- removing -----------------------------------------------------------------------------------------------


def sweep(base: Path | None = None, *, remover: Callable[[Path], None] | None = None) -> int:
    """Remove what dead runs left below a base (not given: TMPDIR and wherever else it goes by itself); return
    the bytes freed.
    """
    found = remover or remove
    bases = (
        {base}
        if base is not None
        else {_base(), Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")), Path("/tmp")}
    )
    return sum(
        _sweep_one(lock, found)
        for each in bases
        for lock in sorted((each / f"imagebuild-{os.geteuid()}").glob(f"*{LOCK}"))
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
    freed = sum(_space(each) for each in (place, *(link.resolve() for link in links)))
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


def remove(place: Path) -> None:
    """Remove a directory with everything in it: its GnuPG agents end, its mounts are unmounted first, and no
    loop device keeps a file of it.

    Never raises; what is still mounted stays.
    """
    for pid in _end_agents(place):
        _wait_for_the_end(pid)
    for mounted in reversed(mounts_below(place)):
        with contextlib.suppress(OSError, BuildError):
            command.run_last(
                ["umount", "-l", mounted] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", mounted]
            )
    for device in _loops_below(place) if os.geteuid() == 0 else []:
        with contextlib.suppress(OSError, BuildError):
            command.run_last(["losetup", "--detach", device])
    _remove_unmounted(place)


def _remove_unmounted(place: Path) -> None:
    """Remove a directory; never through a mount."""

    def unlock(function: Callable[..., Any], name: str, _: object) -> None:
        with contextlib.suppress(OSError):
            Path(name).parent.chmod(0o700)
            if Path(name).is_dir() and not Path(name).is_symlink():
                Path(name).chmod(0o700)
                shutil.rmtree(name, ignore_errors=True)
            else:
                function(name)

    for _ in range(TRIES):
        if mounts_below(place) or not place.exists():
            return
        # threads that have not ended yet may still write there
        shutil.rmtree(place, onerror=unlock)


def mounts_below(place: Path) -> list[Path]:
    """Return what is mounted at or below a directory, parents first (proc(5), /proc/pid/mountinfo: the fifth
    field, blanks as \\040).
    """
    real = place.resolve()
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        words = line.split(b" ")[4].decode("utf-8", "surrogateescape")
        path = Path(
            words.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        )
        if path == real or real in path.parents:
            found.append(path)
    return sorted(found)


def _loops_below(place: Path) -> list[Path]:
    """Return the loop devices of files below a directory: a program that was killed leaves them, and with
    them the blocks of what is removed.
    """
    found = []
    for device in Path("/sys/block").iterdir() if Path("/sys/block").is_dir() else ():
        # most have none, and one may be detached meanwhile
        with contextlib.suppress(OSError):
            backing = (device / "loop" / "backing_file").read_text().rstrip("\n").removesuffix(" (deleted)")
            if place.resolve() in Path(backing).parents:
                found.append(Path("/dev") / device.name)
    return found


def _space(place: Path) -> int:
    found = 0
    for root, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                found += (Path(root) / name).lstat().st_blocks * 512
    return found


def _end_agents(place: Path) -> list[int]:
    """Tell the GnuPG agents of all home directories below one to end; return their process ids."""
    found = []
    for root, names, _ in os.walk(place):
        links = [Path(root) / name for name in names if (Path(root) / name).is_symlink()]
        for home in (Path(root), *links):
            try:
                if (home / AGENT).is_socket():
                    found.append(_end_agent(home))
            except TimeoutError:
                found += _terminated_agents(home)
            except (OSError, ValueError, IndexError):
                # one that is just ending says nothing: no second word
                continue
    return found


def _terminated_agents(home: Path) -> list[int]:
    """Terminate the agents of a home directory that do not answer, on a busy machine; return their process
    ids.
    """
    found = []
    for process in Path("/proc").iterdir():
        # any of them may end meanwhile
        with contextlib.suppress(OSError):
            words = _words(process) if process.name.isdecimal() else []
            if words[:1] and words[0].endswith(b"gpg-agent") and os.fsencode(home) in words:
                os.kill(int(process.name), signal.SIGTERM)
                found.append(int(process.name))
    return found


def _words(process: Path) -> list[bytes]:
    return (process / "cmdline").read_bytes().split(b"\0")


def _end_agent(home: Path) -> int:
    """Say KILLAGENT to an agent and return its process id (doc/gnupg.texi, "Agent Protocol"; libassuan's line
    protocol).

    No program is needed for this: none can be started any more when a run is interrupted. Raises OSError,
    ValueError.
    """
    handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(AGENT_SECONDS)
            # however long the directory's name is
            line.connect(f"/proc/self/fd/{handle}/{AGENT}")
            line.recv(1024)
            line.sendall(b"GETINFO pid\n")
            pid = int(line.recv(1024).split()[1])
            line.sendall(b"KILLAGENT\n")
            line.recv(1024)
    finally:
        os.close(handle)
    return pid


def _wait_for_the_end(pid: int) -> None:
    deadline = time.monotonic() + AGENT_SECONDS
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    # it may end at any of these
    with contextlib.suppress(OSError):
        if b"gpg-agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def forget_secrets() -> None:
    """Remove every directory with private keys now, of this process and of its children, whoever uses it; the
    rest waits for `clear`.
    """
    for place in [each.path for each in list(_places.values()) if each.process == os.getpid()]:
        for root, names, _ in os.walk(place):
            for name in [each for each in names if each.endswith(SECRET)]:
                _end_agents(Path(root) / name)
                _remove_unmounted(Path(root) / name)


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
