"""A tree may ask for a root file system that checks what is read from it: a kickstart has to give it one that
can.

Sources: ostree's manual, "Using composefs" ("Requirements"); Linux, Documentation/filesystems/fsverity.rst
(ext4, f2fs and btrfs have it, xfs does not).
"""

from collections.abc import Iterator

from imagebuild.config import prepare_root
from imagebuild.config.prepare_root import NOTHING, PREPARE_ROOT, AskedOfRoot
from imagebuild.kickstart import handlers
from imagebuild.kickstart.layout import Layout
from imagebuild.kickstart.mount_points import TreeFiles
from imagebuild.kickstart.problems import BadKickstartError, Problems
from imagebuild.kickstart.reading import Reading

ABLE = ("ext4", "btrfs")
HINT = (
    f"give / --fstype=ext4, or compose the tree with another [composefs] in /{PREPARE_ROOT}: `enabled=yes`"
    " checks nothing, and boots from every file system"
)


def asked_by(tree: TreeFiles | None) -> AskedOfRoot:
    """Return what a tree asks of the root file system; nothing when the tree is not known. Raises
    BadKickstartError for a file that cannot be read.
    """
    if tree is None:
        return NOTHING
    path, text = prepare_root.counting(tree.content)
    try:
        return prepare_root.parse(text)
    except ValueError as error:
        raise BadKickstartError(
            f"/{path} of the tree cannot be read: {error}",
            hint="compose the tree with a prepare-root.conf as ostree-prepare-root(1) describes it",
        ) from error


def refuse(reading: Reading, layout: Layout, asked: AskedOfRoot, problems: Problems) -> None:
    """Refuse a root file system that the tree could not boot from."""
    fstype = _root(layout)
    if asked.verity and fstype not in (*ABLE, None):
        problems.add(
            line_of(reading, "/"),
            f"the tree asks for composefs ({asked.composefs}): what is read from / is to be checked, but"
            f" {fstype} has no fs-verity",
            HINT,
        )


def _root(layout: Layout) -> str | None:
    """Return the file system at /; None when there is none."""
    places = {each.mount: each.content for each in layout.partitions}
    places |= {each.mount: each.fstype for each in layout.volumes}
    places |= {each.mount: "btrfs" for each in layout.subvolumes}
    return places.get("/")


def line_of(reading: Reading, mount: str) -> int:
    """Return the line of the command that asks for a file system at a mount point; 0 when nobody knows."""
    return next(_lines(reading, mount), 0)


def _lines(reading: Reading, mount: str) -> Iterator[int]:
    for command in ("part", "logvol", "btrfs"):
        for given in handlers.data(reading.handler, command):
            if given.mountpoint == mount:
                yield given.lineno
    yield from reading.lines_of("autopart")
