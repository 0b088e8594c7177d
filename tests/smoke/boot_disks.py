"""Disks with a /boot as libostree writes it (ostree 2022.7, ostree-sysroot-deploy.c), made without root."""

import hashlib
import subprocess
from pathlib import Path

MIB = 1 << 20
START, SIZE = MIB, 8 * MIB
KERNEL, INITRAMFS = b"kernel " * 2000, b"initramfs " * 3000


def make_boot(place: Path, *, menu: bool = True, entries: int = 2, prefix: str = "") -> Path:
    """Make the directory: each entry has a kernel of its own, the highest is the default."""
    boot = place / prefix if prefix else place
    (boot / "loader.1" / "entries").mkdir(parents=True)
    (boot / "loader").symlink_to("loader.1")
    blocks = []
    for number in range(entries, 0, -1):
        kernel, initramfs = KERNEL + bytes([number]), INITRAMFS + bytes([number])
        total = hashlib.sha256(kernel + initramfs).hexdigest()
        below = f"/ostree/debian-atomic-{total}"
        (boot / below[1:]).mkdir(parents=True)
        (boot / below[1:] / "vmlinuz-6.1").write_bytes(kernel)
        (boot / below[1:] / "initramfs-6.1.img").write_bytes(initramfs)
        options = f"root=/dev/x rw ostree=/ostree/boot.1/debian-atomic/{total}/0"
        linux, initrd = f"{below}/vmlinuz-6.1", f"{below}/initramfs-6.1.img"
        (boot / "loader.1" / "entries" / f"ostree-{number}-debian-atomic.conf").write_text(
            f"title Debian {number}\nversion {number}\noptions {options}\nlinux {linux}\ninitrd {initrd}\n"
        )
        above = f"/{prefix}" if prefix else ""
        blocks.append(
            f"menuentry 'Debian {number}' --unrestricted {{\n  linux {above}{linux} {options}\n"
            f"  initrd {above}{initrd}\n}}\n"
        )
    if menu:
        (boot / "loader.1" / "grub.cfg").write_text("set timeout=1\nset default=0\n" + "".join(blocks))
    return boot


def make_disk(place: Path, disk: Path) -> Path:
    """Write a directory as an ext4 file system into the first partition of a disk."""
    with disk.open("wb") as stream:
        stream.truncate(START + SIZE + MIB)
    table = f"label: gpt\nstart={START // 512}, size={SIZE // 512}\n"
    subprocess.run(["sfdisk", "--quiet", disk], input=table, text=True, check=True)
    made: list[str | Path] = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-b",
        "1024",
        "-E",
        f"offset={START}",
        "-d",
        place,
        disk,
    ]
    subprocess.run([*made, f"{SIZE // 1024}k"], check=True)
    return disk
