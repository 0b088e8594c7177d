"""The only place that speaks to libguestfs: one appliance session with a disk and a read-only toolbox.

The binding belongs to the distribution's Python (Debian: python3-guestfs). The appliance is built once by
supermin from the host's packages and kept; while a package manager runs it would break obscurely.
"""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imagebuild import steplog
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.tools import command, temporary

SECTOR = 512
HINT = (
    "apt-get install python3-guestfs supermin linux-image-amd64 qemu-system-x86, or dnf install"
    " python3-libguestfs"
)


def missing() -> str | None:
    """Return why libguestfs cannot be used here; None when it can be tried."""
    if importlib.util.find_spec("guestfs") is None:
        return "libguestfs' Python binding is not installed"
    if not any(os.access(kernel, os.R_OK) for kernel in Path("/boot").glob("vmlinu*")):
        return "libguestfs needs a readable kernel in /boot"
    return None if command.find("supermin") else "supermin is not installed"


class Session:
    """A running appliance: /dev/sda is the disk, the toolbox is mounted on / and its programs run there."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def shell(self, script: str) -> str:
        """Run a script with the toolbox's /bin/sh and return its standard output. Raises BuildError with what
        it said.
        """
        try:
            output: str = self._handle.sh(script)
        except RuntimeError as error:
            raise BuildError(
                f"in the appliance: {error}", hint="the log has every command", log=steplog.current()
            ) from error
        return output

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        with temporary.file("download") as file:
            self._guarded("download", path, str(file))
            return file.read_bytes()

    def _guarded(self, name: str, *arguments: object) -> Any:
        try:
            return getattr(self._handle, name)(*arguments)
        except RuntimeError as error:
            raise BuildError(f"libguestfs {name}: {error}", log=steplog.current()) from error


def _handle(cache: Path, *, emulate: bool, memory: int) -> Any:
    """Return a new handle, not launched. Raises MissingToolError."""
    if (reason := missing()) is not None:
        raise MissingToolError(reason, hint=HINT)
    import guestfs  # noqa: PLC0415  # absent on hosts that populate natively

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if emulate:
        handle.set_backend_settings(["force_tcg"])
    cache.mkdir(parents=True, exist_ok=True)
    handle.set_cachedir(str(cache))
    handle.set_memsize(memory)
    handle.set_smp(2)
    handle.set_event_callback(
        lambda _event, _handle, buffer, _array: steplog.note(str(buffer)),
        guestfs.EVENT_LIBRARY | guestfs.EVENT_WARNING,
    )
    return handle


@contextlib.contextmanager
def session(
    disk: Path | None, toolbox: Path, *, cache: Path, emulate: bool, memory: int
) -> Iterator[Session]:
    """Start one appliance for a raw disk (or none) and a toolbox; it is shut down when the block ends, killed
    when we are.

    `emulate` forces TCG (libguestfs would pick a /dev/kvm that hangs); `memory` is in MiB. Raises
    MissingToolError, BuildError.
    """
    handle = _handle(cache, emulate=emulate, memory=memory)
    if disk is not None:
        writable = os.access(disk, os.W_OK)
        how = {"cachemode": "unsafe", "discard": "besteffort"} if writable else {"readonly": True}
        handle.add_drive_opts(str(disk), format="raw", **how)
    handle.add_drive_opts(str(toolbox), format="raw", readonly=True)
    # outermost: closing it removes what libguestfs has in temporary directories (root's sockets are in /tmp,
    # wherever TMPDIR is)
    with command.cancelling(lambda: os.kill(handle.get_pid(), 9)), contextlib.closing(handle):
        _launch(handle, "/dev/sdb" if disk is not None else "/dev/sda")
        yield Session(handle)
        handle.shutdown()


def _launch(handle: Any, toolbox: str) -> None:
    steplog.note("starting the libguestfs appliance")
    try:
        handle.launch()
        handle.mount_ro(toolbox, "/")
    except RuntimeError as error:
        hint = (
            "libguestfs-test-tool says more; while packages are being installed the appliance cannot be built"
        )
        raise BuildError(
            f"the libguestfs appliance did not start: {error}", hint=hint, log=steplog.current()
        ) from error


def deployed(
    disk: Path, disk_format: str, *, cache: Path, emulate: bool, memory: int, sector_size: int = SECTOR
) -> list[str]:
    """Return the commits that are deployed on a disk, wherever its sysroot is: opened read-only, nothing of
    it is run.

    Each is told by its deployment's directory and must be there as an object whose SHA-256 is its name.
    Raises MissingToolError, BuildError.
    """
    handle = _handle(cache, emulate=emulate, memory=memory)
    try:
        with command.cancelling(lambda: os.kill(handle.get_pid(), 9)), contextlib.closing(handle):
            blocks = {} if sector_size == SECTOR else {"blocksize": sector_size}
            handle.add_drive_opts(str(disk), format=disk_format, readonly=True, **blocks)
            handle.launch()
            return _deployments(handle)
    except RuntimeError as error:
        raise BuildError(f"{disk} cannot be opened: {error}") from error


def _deployments(handle: Any) -> list[str]:
    found: list[str] = []
    for place, kind in sorted(handle.list_filesystems().items()):
        if kind not in ("ext2", "ext3", "ext4", "xfs", "btrfs"):
            continue
        handle.mount_ro(place, "/")
        for path in (
            handle.glob_expand_opts("/ostree/deploy/*/deploy/*", directoryslash=False)
            if handle.is_dir("/ostree/deploy")
            else ()
        ):
            match = re.fullmatch(r"([0-9a-f]{64})\.\d+", path.rpartition("/")[2])
            if match is None:
                continue
            commit = match[1]
            item = f"/ostree/repo/objects/{commit[:2]}/{commit[2:]}.commit"
            said = handle.checksum("sha256", item) if handle.is_file(item) else "missing"
            if said != commit:
                raise BuildError(f"the commit {commit} is deployed, but its object is {said}")
            found.append(commit)
        handle.umount("/")
    return sorted(set(found))
