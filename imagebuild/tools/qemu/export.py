"""Disk images shown as raw files (FUSE), without converting or copying them: qemu-storage-daemon(1)."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.tools import command, temporary
from imagebuild.tools.qemu.option import escape

START_SECONDS = 20.0
EXPORT_SECONDS = 300.0


def reason_not_to_export() -> str | None:
    """Return why disk images cannot be exported as files here; None when they can."""
    if not Path("/dev/fuse").exists():
        return "this machine has no /dev/fuse"
    if command.find("qemu-storage-daemon") is None:
        return "qemu-storage-daemon is not installed"
    return None if os.geteuid() == 0 or command.find("fusermount3") else "fusermount3 is not installed"


@contextlib.contextmanager
def exported(
    image: Path, image_format: str, *, writable: bool, part: tuple[int, int] | None = None
) -> Iterator[Path]:
    """Show a disk image of any of QEMU's formats as a raw file (FUSE), without converting or copying it.
    Raises BuildError.

    The file is there until the block ends; a raw image is yielded as it is when it is only read. `part`
    (offset, size) shows only that.
    """
    if image_format == "raw" and not writable and part is None:
        yield image
        return
    with temporary.directory("export") as work:
        raw, pid = work / "disk.raw", work / "pid"
        raw.touch()
        process = command.Process(_argv(image, image_format, raw, pid, writable=writable, part=part))
        try:
            _wait_for(pid, process)
            yield raw
            _end_export(process, raw, writable=writable)
        finally:
            if process.alive:
                process.end()
            if temporary.mounts_below(raw):  # left by one that was killed
                _unmount(raw)


def _argv(
    image: Path, image_format: str, raw: Path, pid: Path, *, writable: bool, part: tuple[int, int] | None
) -> list[str | Path]:
    read_only = f"read-only={'off' if writable else 'on'}"
    nodes = [
        f"driver=file,filename={escape(image.absolute())},node-name=file,discard=unmap,{read_only}",
        f"driver={image_format},file=file,node-name=disk,discard=unmap,{read_only}",
    ]
    if part is not None:
        nodes.append(f"driver=raw,file=disk,node-name=part,offset={part[0]},size={part[1]},{read_only}")
    node = "part" if part is not None else "disk"
    mount = f"mountpoint={escape(raw)},writable={'on' if writable else 'off'}"
    return [
        "qemu-storage-daemon",
        *[word for node in nodes for word in ("--blockdev", node)],
        *["--export", f"type=fuse,id=export,node-name={node},{mount}"],
        *["--pidfile", str(pid)],
    ]


def _unmount(raw: Path) -> None:
    command.status(["umount", "-l", raw] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", raw])


def _end_export(process: command.Process, raw: Path, *, writable: bool) -> None:
    """End an export so that everything written is in the image. Raises BuildError when it did not end
    well.
    """
    if writable:
        with raw.open("rb+") as stream:
            os.fsync(stream.fileno())
    process.signal(signal.SIGTERM)
    try:
        status = process.wait(EXPORT_SECONDS)
    except TimeoutError as error:
        raise BuildError(
            "the export of a disk image does not end", hint="is the disk full, or very slow?"
        ) from error
    if status != 0:
        raise BuildError(
            f"the export of a disk image ended with {status}: {process.complaint().strip()[-300:]}"
        )


def _wait_for(file: Path, process: command.Process) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not file.exists():
        if not process.alive or time.monotonic() > deadline:
            raise BuildError(
                f"a disk image cannot be exported: {process.complaint().strip()[-300:]}",
                hint="is /dev/fuse usable here?",
            )
        time.sleep(0.02)
