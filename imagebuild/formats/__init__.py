"""What a raw disk becomes: one module per download format, each with `write` (disk -> download) and `unpack`
(download -> bootable disk).

A format's `write` is given the installed disk, an empty directory and the name without suffix; `unpack` what
a user downloads and an empty directory, and does there what the user's program would do.
"""

from dataclasses import dataclass
from pathlib import Path

from imagebuild.kinds import Controller
from imagebuild.model import Disk


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is converted: the installed disk, the product's name for descriptions, ids that follow from the
    commit, a fixed time.
    """

    disk: Disk
    title: str
    os_id: str
    seed: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """A disk as a user's hypervisor would open it: the file, its QEMU format, the controller it is attached
    to.

    `size` (bytes) is that of the disk the hypervisor makes of it, when it makes it larger.
    """

    disk: Path
    format: str
    controller: Controller
    size: int | None = None
