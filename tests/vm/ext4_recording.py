"""A small ext4 file system is written to by this machine's kernel while QEMU records it: the sample of
`tests/data/power`, made in seconds and without a guest.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

from imagebuild.tools import loop

SIZE = 3 << 20
GENERATIONS = 12
START_SECONDS = 20.0


def record_ext4(place: Path) -> tuple[Path, Path]:
    """Make a file system, keep it as `disk.raw`, and write GENERATIONS of a file to it, each made whole
    before it takes the place of the one before, and each flushed; return the disk and the log of writes.
    """
    disk, copy, log = place / "disk.raw", place / "written.raw", place / "writes.log"
    with disk.open("wb") as stream:
        stream.truncate(SIZE)
    made: list[str | Path] = [
        "mkfs.ext4",
        "-q",
        "-b",
        "1024",
        "-J",
        "size=1",
        "-E",
        "lazy_itable_init=0,nodiscard",
        disk,
    ]
    subprocess.run(made, check=True)
    copy.write_bytes(disk.read_bytes())
    log.touch()
    shown, pid = place / "shown.raw", place / "pid"
    shown.touch()
    daemon = subprocess.Popen(
        [
            "qemu-storage-daemon",
            *("--blockdev", f"driver=file,node-name=file,filename={copy}"),
            *("--blockdev", f"driver=file,node-name=log,filename={log}"),
            "--blockdev",
            "driver=blklogwrites,node-name=logged,file=file,log=log,log-super-update-interval=1",
            *("--export", f"type=fuse,id=export,node-name=logged,mountpoint={shown},writable=on"),
            *("--pidfile", str(pid)),
        ]
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not pid.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        _write_generations(shown, place / "mounted")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(START_SECONDS)
    return disk, log


def _write_generations(device_file: Path, mounted: Path) -> None:
    mounted.mkdir()
    with loop.attached(device_file) as device:
        subprocess.run(["mount", "-t", "ext4", "-o", "noatime", device, mounted], check=True)
        try:
            for number in range(1, GENERATIONS + 1):
                partial = mounted / "partial"
                with partial.open("wb") as stream:
                    stream.write(f"generation {number}\n".encode() * 200)
                    stream.flush()
                    os.fsync(stream.fileno())
                partial.rename(mounted / "current")
                handle = os.open(mounted, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
        finally:
            subprocess.run(["umount", mounted], check=True)
