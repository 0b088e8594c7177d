"""A disk that starts nothing but a kernel: an ESP with shim, GRUB and a kernel without a root file system."""

from collections.abc import Mapping
from pathlib import Path

from imagebuild.tools import command

# where Debian's signed GRUB looks, on the partition that it came from (its prefix is /EFI/debian)
MENU = "EFI/debian/grub.cfg"
ENTRY = "set timeout=0\nmenuentry test {\n    linux /vmlinuz console=ttyS0 panic=-1\n}\n"
MIB = 1 << 20
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"


def write_disk(esp: Mapping[str, bytes], kernel: bytes, place: Path) -> Path:
    """Make a disk in `place` with programs (path -> content), a menu and a kernel on its ESP (qcow2)."""
    image, partition, disk = place / "disk.raw", place / "esp.img", place / "disk.qcow2"
    files = {**esp, MENU: ENTRY.encode(), "vmlinuz": kernel}
    size = (sum(map(len, files.values())) // MIB + 36) * MIB
    with partition.open("wb") as stream:
        stream.truncate(size)
    command.run(["mkfs.vfat", "-F", "32", partition], quiet=True)
    command.run(["mmd", "-i", partition, "::EFI", "::EFI/BOOT", "::EFI/debian"])
    for name, content in files.items():
        (place / "file").write_bytes(content)
        command.run(["mcopy", "-i", partition, place / "file", f"::{name}"])
    image.write_bytes(bytes(MIB) + partition.read_bytes() + bytes(MIB))
    table = f"label: gpt\nstart=2048, size={size // 512}, type={ESP_TYPE}\n"
    command.run(["sfdisk", "--quiet", image], stdin=table.encode(), quiet=True)
    command.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, disk])
    return disk
