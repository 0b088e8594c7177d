"""Turn an installed disk into a download: one format per call, from the table of formats."""

import hashlib
from pathlib import Path

from imagebuild.config import Qcow2Config
from imagebuild.formats import qcow2
from imagebuild.model import Disk, Image, Tree

CHUNK = 1 << 22


def convert_qcow2(out: Path, tree: Tree, disk: Disk, name: str, options: Qcow2Config) -> Image:
    """Write NAME-VERSION.ARCH.qcow2 and hash it. QEMU boots what users download, the qcow2 itself."""
    file = out / f"{name}-{tree.version}.{tree.arch}.qcow2"
    qcow2.write(disk.file, file, options)
    return Image(file=file, name=file.name, format="qcow2", boot=file, boot_format="qcow2", size=file.stat().st_size, sha256=_sha256(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
