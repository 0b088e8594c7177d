"""Guests of all builds on a machine share its processors: a guest takes one slot for each of its cores before
it starts.

A slot is a file that is flock(2)ed by the process whose guest has it, in one directory for all users: who
dies gives it back. Whoever wants more than one waits with what he has, and nobody else takes any meanwhile:
so large guests get their turn, and nobody waits in a circle.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from imagebuild import files

# hier(7), FHS 5.9: lock files of all users; where only root may make some (Fedora), and root has not, /tmp
PLACES = (Path("/run/lock/imagebuild"), Path("/tmp/imagebuild-slots"))
# says where they lie instead
VARIABLE = "IMAGEBUILD_GUEST_SLOTS"
POLL_SECONDS = 0.2
TURN = "turn"


@contextlib.contextmanager
def taken(
    wanted: int, *, say: Callable[[str], None], place: Path | None = None, count: int | None = None
) -> Iterator[None]:
    """Hold as many slots as a guest has cores (at most all `count`, of as many as the machine has) until the
    block ends.

    Waits for others' guests, and says so. Where no such files can be made the guest runs all the same, which
    is said, too.
    """
    count = count or os.cpu_count() or 1
    found = place or _place() if wanted > 0 else None
    if wanted < 1:
        yield
    elif found is None:
        say(
            f"guests of other builds are not counted: none of {', '.join(map(str, PLACES))} can be written to"
        )
        yield
    else:
        with contextlib.ExitStack() as held:
            _wait_for_slots(found, min(wanted, count), count, held, say)
            yield


def _place() -> Path | None:
    given = os.environ.get(VARIABLE)
    return next((each for each in ((Path(given),) if given else PLACES) if _usable(each)), None)


def _usable(place: Path) -> bool:
    try:
        place.mkdir()
        place.chmod(0o1777)
    except FileExistsError:
        pass
    except OSError:
        return False
    return place.is_dir() and not place.is_symlink() and os.access(place, os.W_OK | os.X_OK)


def _wait_for_slots(
    place: Path, wanted: int, count: int, held: contextlib.ExitStack, say: Callable[[str], None]
) -> None:
    begun, told = time.monotonic(), False
    with contextlib.ExitStack() as turn:
        mine, got = False, 0
        while got < wanted:
            mine = mine or _take(place / TURN, turn)
            for number in range(count if mine else 0):
                if got < wanted and _take(place / f"core-{number}", held):
                    got += 1
            if got < wanted:
                if not told:
                    say(
                        f"waiting for guests of other builds on this machine: {wanted} of {count} cores are"
                        f" wanted; {_holders(place)}"
                    )
                told = True
                time.sleep(POLL_SECONDS)
    if told:
        say(f"waited {time.monotonic() - begun:.0f} s for guests of other builds")


def _holders(place: Path) -> str:
    lines = {text for file in sorted(place.glob("core-*")) if (text := _text(file))}
    return f"some are held by {', '.join(sorted(lines))}" if lines else "others wait before"


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _take(file: Path, held: contextlib.ExitStack) -> bool:
    """Lock a file without waiting; it is given back when the stack is closed, or the process dies."""
    handle = _opened(file)
    if not files.try_lock(handle):
        os.close(handle)
        return False
    held.callback(os.close, handle)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
    held.callback(os.ftruncate, handle, 0)
    return True


def _opened(file: Path) -> int:
    """Open a file that every user may lock. Not created where it is: proc(5), protected_regular, forbids that
    to all but its owner.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(file, flags)
        new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        handle = os.open(new, flags | os.O_CREAT | os.O_EXCL, 0o666)
        os.fchmod(handle, 0o666)
        os.close(handle)
        # with its mode, or not there
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(new)
        new.unlink()
