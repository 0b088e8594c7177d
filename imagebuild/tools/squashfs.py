"""Squashfs images written from a tar stream, which needs no root: owners exist in the stream only
(mksquashfs(1), -tar).

The same stream gives the same bytes. mksquashfs 4.5 gives the root directory, which is not a member of the
stream, to whoever runs it (and ignores -root-uid): an ordinary user is root of a user namespace for that.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from imagebuild import steplog
from imagebuild.tools import command

FIXED = ("-quiet", "-no-progress", "-mkfs-time", "0", "-all-time", "0", "-root-mode", "0755")
ROOT = ("unshare", "--user", "--map-root-user", "--")


def from_tar(image: Path, options: Sequence[str]) -> list[str | Path]:
    """Return the command that writes `image` from the tar archive on its standard input."""
    return [*_as_root(), "mksquashfs", "-", image, "-tar", *options, *FIXED]


def _as_root() -> Sequence[str]:
    if os.geteuid() == 0:
        return ()
    status, _ = command.status([*ROOT, "true"])
    if status != 0:
        steplog.note(
            "no user namespaces here: the root directory of squashfs images will belong to this user"
        )
    return ROOT if status == 0 else ()
