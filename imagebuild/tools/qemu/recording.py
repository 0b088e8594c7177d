"""What a running machine writes to its disk is recorded: `blklogwrites` is put between device and disk.

Sources: QEMU 10.0, qapi/block-core.json (BlockdevOptionsBlklogwrites), block/blklogwrites.c, and
hw/core/qdev-properties-system.c (set_drive_helper: a device's `drive` can be changed while it runs).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagebuild.errors import BuildError

DISK = "disk"
LOG_NODE, FILTER_NODE = "log", "logged"
BACKEND = "/virtio-backend"


def begin(execute: Callable[..., Any], log: Path) -> None:
    """Append what is written to the drive `disk` from now on to a log. Raises BuildError.

    The disk itself may ignore flushes (cache=unsafe); this node passes them on, so the log has them.
    """
    log.touch()
    device, node = _disk(execute("query-block"))
    quick = {"no-flush": True}
    execute(
        "blockdev-add",
        **{"driver": "file", "filename": str(log.absolute()), "node-name": LOG_NODE, "cache": quick},
    )
    execute(
        "blockdev-add",
        **{
            "driver": "blklogwrites",
            "node-name": FILTER_NODE,
            "file": node,
            "log": LOG_NODE,
            # a boot is a QEMU of its own, and all boots have one log
            "log-append": True,
            # the number of entries is right at any moment
            "log-super-update-interval": 1,
            "discard": "unmap",
            "cache": {"no-flush": False},
        },
    )
    execute("qom-set", path=device, property="drive", value=FILTER_NODE)


def _disk(blocks: Any) -> tuple[str, str]:
    """Return the path of the disk's device, and the name of the node that is below it."""
    for block in blocks:
        if block.get("device") == DISK and block.get("qdev"):
            return str(block["qdev"]).removesuffix(BACKEND), str(block["inserted"]["node-name"])
    raise BuildError("the machine has no disk whose writes could be recorded")
