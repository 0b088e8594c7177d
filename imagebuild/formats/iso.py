"""The installer ISO as a file of a release; the backends of `imagebuild.installers` make it."""

from imagebuild.formats.format import FileKind, Magic

ISO = FileKind(
    name="iso",
    suffix="iso",
    title="Installer ISO",
    column="ISO",
    text="Write it to a USB stick or DVD and boot from it.",
    command="dd if={name} of=/dev/sdX bs=4M oflag=direct status=progress",
    productmd=("dvd-ostree", "iso"),
    cosa="live-iso",
    # ISO 9660: the volume descriptor at sector 16
    magic=Magic(data=b"CD001", offset=32769),
)
