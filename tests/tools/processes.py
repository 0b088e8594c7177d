"""The processes of this machine, as the kernel tells them."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path


def processes() -> Iterator[tuple[int, list[bytes]]]:
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit():
                yield int(process.name), (process / "cmdline").read_bytes().split(b"\0")


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]:
                return True
        except OSError:
            # gone, or going
            return True
        time.sleep(0.02)
    return False
