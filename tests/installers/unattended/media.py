"""Installer media to change."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from imagebuild.tools import iso_writer

# the shape of what lorax writes (entries and arguments of its x86 templates)
LORAX = """set default="1"

function load_video {
  insmod all_video
}

set timeout=60
### BEGIN /etc/grub.d/00_header ###
search --no-floppy --set=root -l 'Fedora-27'

### BEGIN /etc/grub.d/10_linux ###
menuentry 'Install Fedora 27' --class fedora --class gnu-linux {
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 quiet
	initrdefi /images/pxeboot/initrd.img
}
menuentry 'Test this media & install Fedora 27' --class fedora --class gnu-linux {
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 rd.live.check quiet
	initrdefi /images/pxeboot/initrd.img
}
submenu 'Troubleshooting -->' {
	menuentry 'Rescue a Fedora system' --class fedora {
		linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 inst.rescue quiet
		initrdefi /images/pxeboot/initrd.img
	}
}
"""


def make_iso(
    place: Path, *, appended: bool = True, label: str = "Fedora-27", more: Mapping[str, Path] | None = None
) -> Path:
    """Write an ISO with the boot equipment of lorax's: GRUB for BIOS, an ESP (appended, or a file), both
    menus.
    """
    files = place / "files"
    (files / "boot/grub2").mkdir(parents=True)
    (files / "EFI/BOOT").mkdir(parents=True)
    (files / "images/pxeboot").mkdir(parents=True)
    (files / "boot/grub2/grub.cfg").write_text(LORAX.replace("efi ", " "))
    (files / "EFI/BOOT/grub.cfg").write_text(LORAX)
    (files / "images/pxeboot/vmlinuz").write_bytes(b"kernel" * 100000)
    (files / "images/eltorito.img").write_bytes(b"\0" * 4096)
    esp = place / "esp.img"
    esp.write_bytes(b"")
    subprocess.run(["truncate", "-s", "4M", esp], check=True)
    subprocess.run(["mkfs.vfat", "-F", "12", esp], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", esp, files / "EFI/BOOT/grub.cfg", "::/EFI/BOOT/grub.cfg"], check=True)
    target = place / "in.iso"
    if appended:
        (files / "images/pxeboot/initrd.img").write_bytes(b"initrd")
        (files / ".discinfo").write_text("1.0\n27\nx86_64\n")
        paths = {**(more or {})} | {
            path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()
        }
        mbr = place / "mbr.img"
        mbr.write_bytes(b"\0" * 512)
        iso_writer.write(
            target,
            paths,
            volume="Fedora-27",
            bios="images/eltorito.img",
            esp=esp,
            mbr=mbr,
            epoch=1,
            serial="0" * 8 + "-0000-4000-8000-" + "0" * 12,
        )
    else:
        (files / "images/efiboot.img").write_bytes(esp.read_bytes())
        subprocess.run(
            [
                "xorriso",
                "-as",
                "mkisofs",
                "-quiet",
                "-o",
                target,
                "-R",
                "-J",
                "-V",
                "Fedora-27",
                "-b",
                "images/eltorito.img",
                "-no-emul-boot",
                "-boot-load-size",
                "4",
                "-boot-info-table",
                "-eltorito-alt-boot",
                "-e",
                "images/efiboot.img",
                "-no-emul-boot",
                files,
            ],
            check=True,
            capture_output=True,
        )
    iso_writer.implant_md5(target)
    return target


def medium_of(
    place: Path,
    files: Mapping[str, str],
    esp: Mapping[str, str],
    *,
    bios: str = "isolinux/isolinux.bin",
    appended: bool = False,
    more: tuple[str, ...] = (),
) -> Path:
    """Write an ISO labelled TEST-1 as mkisofs users do: its BIOS boot image says whose it is, as isolinux'
    and GRUB's do.
    """
    tree, image, target = place / "tree", place / "efiboot.img", place / "in.iso"
    boot = b"isolinux.bin missing or corrupt" if bios.endswith(".bin") else b"GRUB "
    for path, data in {
        bios: boot.ljust(4096, b"\0"),
        **{path.lstrip("/"): text.encode() for path, text in files.items()},
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    subprocess.run(["truncate", "-s", "2M", image], check=True)
    subprocess.run(["mkfs.vfat", "-F", "12", image], check=True, capture_output=True)
    for directory in sorted(
        {str(parent) for path in esp for parent in Path(path).parents} - {"/", "."}, key=len
    ):
        subprocess.run(["mmd", "-i", image, f"::{directory}"], check=True)
    for path, text in esp.items():
        subprocess.run(["mcopy", "-i", image, "-", f"::{path}"], input=text.encode(), check=True)
    uefi = (
        ["-append_partition", "3", "0xef", image, "-e", "--interval:appended_partition_3:all::"]
        if appended
        else ["-e", "images/efiboot.img"]
    )
    if not appended:
        (tree / "images").mkdir(exist_ok=True)
        (tree / "images/efiboot.img").write_bytes(image.read_bytes())
    subprocess.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-o",
            target,
            "-R",
            "-V",
            "TEST-1",
            "-b",
            bios,
            "-c",
            "boot.cat",
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "-eltorito-alt-boot",
            *uefi,
            "-no-emul-boot",
            *more,
            tree,
        ],
        check=True,
        capture_output=True,
    )
    return target
