"""Private namespaces (mounts, processes, network, IPC, host name) in which programs run as root without touching the host's.

When the pipeline dies, however, the namespaces' first process dies with it, and with that every program and mount in them.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.command import Process

KINDS = ("--mount", "--pid", "--net", "--ipc", "--uts")
START_SECONDS = 10.0


class Namespace:
    """Namespaces that exist as long as their first process runs; made by `private`."""

    def __init__(self, first: int) -> None:
        self._first = first

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
        """Run a program inside, with `root` as its root directory, and return its standard output; `quiet` keeps both out of the log."""
        enter: list[str | Path] = ["nsenter", f"--target={self._first}", *KINDS]
        if root is not None:
            enter += ["--", "chroot", root]
        environment = {"LVM_SYSTEM_DIR": "", "HOME": "/", "TMPDIR": "/run", **(env or {})}
        # what is inside shall not depend on the caller's environment
        pairs = [f"{name}={value}" for name, value in {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **environment}.items()]
        return command.run([*enter, "/usr/bin/env", "-i", *pairs, *argv], stdin=stdin, accept=accept, quiet=quiet, shown=argv)


@contextlib.contextmanager
def private() -> Iterator[Namespace]:
    """Make namespaces and end everything in them when the block ends. Needs root."""
    holder = Process(["unshare", *KINDS, "--fork", "--kill-child", "--propagation", "private", "--", "sleep", "infinity"], quiet=True)
    try:
        yield Namespace(_child(holder))
    finally:
        holder.end()


def _child(holder: Process) -> int:
    """Return the process id (seen from here) of the first process in the namespaces."""
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    deadline = time.monotonic() + START_SECONDS
    while holder.alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            found = int(children.read_text().split()[0]) if children.read_text().split() else 0
            if found and Path(f"/proc/{found}/comm").read_text().strip() == "sleep":
                return found
        time.sleep(0.01)
    raise BuildError(
        f"private namespaces cannot be made: {holder.complaint().strip()}", hint="are we root? otherwise use --populate=appliance"
    )
