"""GnuPG's agents of home directories that are removed: told to end, and killed when they do not."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

AGENT, AGENT_SECONDS = "S.gpg-agent", 2.0
# bytes: libassuan's ASSUAN_LINELENGTH
LONGEST = 1002


def end_agents(directory: Path) -> None:
    """Tell the agents of all home directories below one to end, and wait until they have."""
    for pid in tell_agents(directory):
        _wait_for_the_end(pid)


def tell_agents(directory: Path) -> list[int]:
    """Tell the GnuPG agents of all home directories below one to end; return their process ids."""
    pids = []
    for root, names, _ in os.walk(directory):
        links = [Path(root) / name for name in names if (Path(root) / name).is_symlink()]
        for home in (Path(root), *links):
            try:
                if (home / AGENT).is_socket():
                    pids.append(_end_agent(home))
            except TimeoutError:
                pids += _terminated_agents(home)
            except (OSError, ValueError, IndexError):
                # one that is just ending says nothing: no second word
                continue
    return pids


def _terminated_agents(home: Path) -> list[int]:
    """Terminate the agents of a home directory that do not answer, on a busy machine; return their process
    ids.
    """
    pids = []
    for process in Path("/proc").iterdir():
        # any of them may end meanwhile
        with contextlib.suppress(OSError):
            words = _words(process) if process.name.isdecimal() else []
            if words[:1] and words[0].endswith(b"gpg-agent") and os.fsencode(home) in words:
                os.kill(int(process.name), signal.SIGTERM)
                pids.append(int(process.name))
    return pids


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
            # a line may come in several pieces
            with line.makefile("rb") as answers:
                answers.readline(LONGEST)
                line.sendall(b"GETINFO pid\n")
                pid = int(answers.readline(LONGEST).split()[1])
                answers.readline(LONGEST)
                line.sendall(b"KILLAGENT\n")
                answers.readline(LONGEST)
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
