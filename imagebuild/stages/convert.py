"""Turn an installed disk into a download: one format per call, from the table of formats."""

from pathlib import Path

from imagebuild import files, steplog
from imagebuild.config.fields import Model
from imagebuild.formats.format import Source
from imagebuild.formats.registry import FORMATS
from imagebuild.model import Disk, Image, Tree
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image


def convert_disk(
    out: Path, tree: Tree, disk: Disk, kind: str, name: str, options: Model, epoch: int | None
) -> Image:
    """Write NAME-VERSION.ARCH.SUFFIX and hash it. `epoch` is the time in archives; None: the commit's.

    Runs at the lowest priority: a guest that is being tested meanwhile comes first.
    """
    when = epoch if epoch is not None else tree.timestamp
    source = Source(
        disk=disk,
        title=f"{tree.pretty_name} {tree.version}",
        os_id=tree.os_id,
        seed=tree.commit,
        epoch=when,
        arch=tree.arch,
    )
    content = disk_image.content_size(disk.file, disk.format)
    steplog.note(f"of the disk's {disk.size >> 20} MiB {content >> 20} are in use: the rest takes no room")
    with command.in_background():
        file = FORMATS[kind].write(source, out, f"{name}-{tree.version}.{tree.arch}", options)
    return Image(
        file=file,
        name=file.name,
        format=kind,
        disk_size=disk.size,
        size=file.stat().st_size,
        sha256=files.sha256(file),
        firmware=disk.firmware,
        secure_boot=disk.secure_boot,
        content=content,
    )
