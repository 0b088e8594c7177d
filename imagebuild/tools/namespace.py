"""Private namespaces (mounts, processes, network, IPC, host name) in which programs run as root without
touching the host's.

When the pipeline dies, however, the namespaces' first process dies with it, and with that every program and
mount in them.
"""

import contextlib
import os
import pwd
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.command import Process

KINDS = ("--mount", "--pid", "--net", "--ipc", "--uts")
START_SECONDS = 10.0
# The first process holds the namespaces, and its root directory is the build machine's: nobody inside may
# follow /proc/1/root. In a user namespace it has no capabilities (its own exec took them, before its ids
# were mapped), so that whoever has none either could (ptrace(2), "Ptrace access mode checking", 3 and 5):
# unless it cannot be dumped (prctl(2), PR_SET_DUMPABLE = 4; PR_SET_NAME = 15 says that it was done)
HOLDER = "imagebuild-held"
HOLD = f"""
import ctypes, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
kernel = ctypes.CDLL(None)
if kernel.prctl(4, 0, 0, 0, 0) == 0:
    kernel.prctl(15, b"{HOLDER}", 0, 0, 0)
while True:
    signal.pause()
"""
IDS = 65536  # what a system's accounts need


class Namespace:
    """Namespaces that exist as long as their first process runs; made by `private` or `mapped`."""

    def __init__(self, first: int, *, user: bool) -> None:
        self._first = first
        # the user namespace first: entering the others takes its privileges
        self._kinds = ["--user", *KINDS, "--setuid=0", "--setgid=0"] if user else list(KINDS)

    def entering(self, *kinds: str) -> list[str]:
        """Return what runs the program that follows it in some of the namespaces (options of nsenter(1), as
        `--net`), as the same process.

        It is killed, too, when who started it dies: with its privileges a process changes that, and has to be
        told again (prctl(2), PR_SET_PDEATHSIG).
        """
        user = ["--user", "--setuid=0", "--setgid=0"] if "--user" in self._kinds else []
        told = ["setpriv", "--pdeathsig", "KILL", "--"]
        return ["nsenter", f"--target={self._first}", *user, *kinds, "--", *told]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        root: Path | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        accept: Sequence[int] = (0,),
        quiet: bool = False,
    ) -> str:
        """Run a program inside, with `root` as its root directory, and return its standard output; `quiet`
        keeps both out of the log.
        """
        enter: list[str | Path] = ["nsenter", f"--target={self._first}", *self._kinds]
        if root is not None:
            enter += ["--", "chroot", root]
        environment = {"LVM_SYSTEM_DIR": "", "HOME": "/", "TMPDIR": "/run", **(env or {})}
        # what is inside shall not depend on the caller's environment
        pairs = [
            f"{name}={value}"
            for name, value in {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C.UTF-8",
                **environment,
            }.items()
        ]
        return command.run(
            [*enter, "/usr/bin/env", "-i", *pairs, *argv], stdin=stdin, accept=accept, quiet=quiet, shown=argv
        )


@contextlib.contextmanager
def private() -> Iterator[Namespace]:
    """Make namespaces and end everything in them when the block ends. Needs root."""
    with _held(KINDS) as first:
        yield Namespace(first, user=False)


@contextlib.contextmanager
def mapped() -> Iterator[Namespace]:
    """Make namespaces with a user namespace around them, in which we are root: user_namespaces(7). Raises
    BuildError.

    An ordinary user gets the ids of /etc/subuid for the other accounts; root, who has all ids, keeps them,
    but no power outside.
    """
    with _held(("--user", *KINDS)) as first:
        if os.geteuid() == 0:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{first}/{name}").write_text(f"0 0 {IDS}\n")
        else:
            for program, own, file in (
                ("newuidmap", os.getuid(), "/etc/subuid"),
                ("newgidmap", os.getgid(), "/etc/subgid"),
            ):
                start, count = _granted(Path(file)) or (0, 0)
                command.run(
                    [program, str(first), "0", str(own), "1", "1", str(start), str(min(count, IDS - 1))]
                )
        yield Namespace(first, user=True)


def mapping_unavailable() -> str | None:
    """Return why `mapped` cannot work here; None when it can be tried."""
    limit = Path("/proc/sys/user/max_user_namespaces")
    if not Path("/proc/self/ns/user").exists() or (limit.exists() and limit.read_text().strip() == "0"):
        return "the host has no user namespaces"
    if os.geteuid() == 0:
        return None
    if command.find("newuidmap") is None:
        return "newuidmap is not installed"
    return (
        None
        if _granted(Path("/etc/subuid")) and _granted(Path("/etc/subgid"))
        else "/etc/subuid and /etc/subgid grant this user no ids"
    )


def _granted(file: Path) -> tuple[int, int] | None:
    """Return (first id, count) that subuid(5) grants this user, if it is enough for a system's accounts."""
    names = {pwd.getpwuid(os.getuid()).pw_name, str(os.getuid())}
    for line in file.read_text().splitlines() if file.exists() else []:
        fields = line.split(":")
        if (
            len(fields) == 3
            and fields[0] in names
            and fields[1].isdigit()
            and fields[2].isdigit()
            and int(fields[2]) >= IDS - 1
        ):
            return int(fields[1]), int(fields[2])
    return None


@contextlib.contextmanager
def _held(kinds: Sequence[str]) -> Iterator[int]:
    holder = Process(
        [
            *["unshare", *kinds, "--fork", "--kill-child", "--propagation", "private", "--"],
            *[sys.executable, "-I", "-S", "-c", HOLD],
        ],
        shown=["unshare", *kinds],
        quiet=True,
    )
    try:
        yield _child(holder)
    finally:
        # the first process of a pid namespace ignores SIGTERM
        holder.end(grace=0)


def _child(holder: Process) -> int:
    """Return the process id (seen from here) of the first process in the namespaces."""
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while holder.alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            found = int(children.read_text().split()[0]) if children.read_text().split() else 0
            if found and Path(f"/proc/{found}/comm").read_text().strip() == HOLDER:
                return found
        time.sleep(0.01)
    raise BuildError(
        f"private namespaces cannot be made: {holder.complaint().strip()}",
        hint="run as root, or use --populate=appliance",
    )
