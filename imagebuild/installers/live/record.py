"""What others know of the live installer."""

from pathlib import Path

from imagebuild.installers.installer import Installer, Request
from imagebuild.installers.live import initramfs, netboot, product
from imagebuild.installers.live.options import LiveConfig


def build(out: Path, request: Request) -> Path:
    """Make the ISO; what that needs takes long to import."""
    from imagebuild.installers.live import backend  # noqa: PLC0415

    return backend.build(out, request)


LIVE = Installer(
    name="live",
    options=LiveConfig,
    build=build,
    tools=("mksquashfs", "sqfs2tar", "xorriso", "mcopy", "busybox", "implantisomd5"),
    when="it works everywhere",
    toolbox=True,
    reads=(*product.DATA, *initramfs.DATA, *netboot.DATA),
)
