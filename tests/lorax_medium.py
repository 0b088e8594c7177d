"""The output of lorax in small: what its x86 template of a generation makes of an installer's root file
system, by the same options.

Checked against share/templates.d/99-generic/x86.tmpl, efi.tmpl and config_files/x86 of weldr/lorax:

- 24.22, 26.9, 29.0 and 30.0 ("isolinux"): isolinux for BIOS, the ESP is the file images/efiboot.img, no
  /.discinfo
- 30.13 … 37.0 ("discinfo"): the same with /.discinfo
- 37.4, 39.5, 40.5.19 and 46.0 ("grub"): GRUB for BIOS, the ESP is appended as partition 2, /.discinfo

Kernel, boot loaders and ESP are none that would boot. No menu speaks on a serial line: none of lorax's does.
"""

import shutil
import subprocess
import sys
from pathlib import Path

STYLES = ("isolinux", "discinfo", "grub")
GRUB = """set default="1"
set timeout=60
search --no-floppy --set=root -l '{label}'
menuentry 'Install Fedora 29' --class fedora {{
\tlinux{efi} /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={label} quiet
\tinitrd{efi} /images/pxeboot/initrd.img
}}
menuentry 'Test this media & install Fedora 29' --class fedora {{
\tlinux{efi} /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={label} rd.live.check quiet
\tinitrd{efi} /images/pxeboot/initrd.img
}}
"""
ISOLINUX = """default vesamenu.c32
timeout 600

label linux
  menu label ^Install Fedora 29
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={label} quiet

label check
  menu label Test this ^media & install Fedora 29
  menu default
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={label} rd.live.check quiet

menu separator
menu begin ^Troubleshooting
  menu title Troubleshooting
label rescue
  menu label ^Rescue a Fedora system
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={label} rescue quiet
menu end
"""


def write(output: Path, label: str, style: str) -> None:
    """Write images/boot.iso and what it is made of into lorax's output directory, in which images/install.img
    and .discinfo are already.

    The media checksum comes later (TreeBuilder.implantisomd5).
    """
    for directory in ("images/pxeboot", "EFI/BOOT", "boot/grub2" if style == "grub" else "isolinux"):
        (output / directory).mkdir(parents=True, exist_ok=True)
    for name in ("vmlinuz", "initrd.img"):
        (output / "images/pxeboot" / name).write_bytes(name.encode() * 1000)
    (output / "EFI/BOOT/grub.cfg").write_text(GRUB.format(label=label, efi="efi" if style != "grub" else ""))
    esp = output / "images/efiboot.img"
    subprocess.run(["truncate", "-s", "2M", esp], check=True)
    subprocess.run(["mkfs.vfat", "-F", "12", esp], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", esp, output / "EFI/BOOT/grub.cfg", "::/EFI/BOOT/grub.cfg"], check=True)
    (
        _write_grub(output, label, esp)
        if style == "grub"
        else _write_isolinux(output, label, discinfo=style == "discinfo")
    )


def _write_isolinux(output: Path, label: str, *, discinfo: bool) -> None:
    place = output / "isolinux"
    (place / "isolinux.bin").write_bytes(b"\0" * 8192)
    (place / "isolinux.cfg").write_text(ISOLINUX.format(label=label))
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile(output / "images/pxeboot" / name, place / name)
    grafts = [
        "images/install.img",
        "isolinux",
        "images/pxeboot",
        "EFI/BOOT",
        "images/efiboot.img",
        *([".discinfo"] if discinfo else []),
    ]
    subprocess.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-o",
            output / "images/boot.iso",
            "-b",
            "isolinux/isolinux.bin",
            "-c",
            "isolinux/boot.cat",
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "-no-emul-boot",
            "-eltorito-alt-boot",
            "-e",
            "images/efiboot.img",
            "-no-emul-boot",
            "-R",
            "-J",
            "-V",
            label,
            "-graft-points",
            *(f"{path}={output / path}" for path in grafts),
        ],
        check=True,
        capture_output=True,
    )


def _write_grub(output: Path, label: str, esp: Path) -> None:
    (output / "boot/grub2/grub.cfg").write_text(GRUB.format(label=label, efi=""))
    (output / "images/eltorito.img").write_bytes(b"\0" * 8192)
    mbr = output / "mbr.img"
    mbr.write_bytes(b"\0" * 512)
    grafts = [
        ".discinfo",
        "images/install.img",
        "images/pxeboot",
        "boot/grub2",
        "images/eltorito.img",
        "EFI/BOOT",
    ]
    subprocess.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-o",
            output / "images/boot.iso",
            "-R",
            "-J",
            "-V",
            label,
            "--grub2-mbr",
            mbr,
            "-partition_offset",
            "16",
            "-appended_part_as_gpt",
            "-append_partition",
            "2",
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            esp,
            "-c",
            "boot.cat",
            "--boot-catalog-hide",
            "-b",
            "images/eltorito.img",
            "-no-emul-boot",
            "-boot-load-size",
            "4",
            "-boot-info-table",
            "--grub2-boot-info",
            "-eltorito-alt-boot",
            "-e",
            "--interval:appended_partition_2:all::",
            "-no-emul-boot",
            "-graft-points",
            *(f"{path}={output / path}" for path in grafts),
        ],
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
