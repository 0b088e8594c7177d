"""Installer media to change."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from imagebuild.installers.unattended import entry as unattended
from imagebuild.installers.unattended import remaster
from imagebuild.kinds import Firmware
from imagebuild.tools import iso_writer
from imagebuild.tools.menus.menu import ISO, BootVolume, Spot
from tests.isolinux_cases import label
from tests.menu_cases import entry

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

KICKSTART = "text\nrootpw --lock\nautopart\n"
GRUB_SPOT = Spot(volume=ISO, file="/boot/grub2/grub.cfg", line=1)
WANTED = unattended.ask("V")
TRAMPOLINE = (
    "search --no-floppy --set=root -l 'TEST-1'\nset prefix=($root)/boot/grub2\nconfigfile $prefix/grub.cfg\n"
)
SHORT = "set default=0\nset timeout=60\n" + entry("Install X 9", name="images/pxeboot/vmlinuz")
LABELS = label("linux", "menu label ^Install X")
BIOS_MENUS = {
    "made of includes": {
        "/isolinux/isolinux.cfg": "default vesamenu.c32\ntimeout 600\ninclude entries.cfg\n",
        "/isolinux/entries.cfg": LABELS,
    },
    "with INITRD": {
        "/isolinux/isolinux.cfg": (
            "UI vesamenu.c32\nTIMEOUT 600\nLABEL install\n LINUX /images/vmlinuz\n INITRD /images/i\n APPEND"
            " inst.repo=cdrom\n"
        )
    },
    "with arguments beside the kernel": {
        "/isolinux/isolinux.cfg": (
            "DEFAULT menu.c32\nTIMEOUT 600\nLABEL install\n KERNEL vmlinuz initrd=initrd.img"
            " inst.ks=http://old/ks.cfg rd.live.check\n"
        )
    },
    "with a global append": {
        "/isolinux/isolinux.cfg": (
            "UI menu.c32\nAPPEND initrd=i inst.ks=http://old/ks.cfg quiet\nLABEL install\n KERNEL vmlinuz\n"
        )
    },
    "in /syslinux": {"/syslinux/syslinux.cfg": "ui menu.c32\ntimeout 600\n" + LABELS},
    "in /boot/isolinux, beside another": {
        "/boot/isolinux/isolinux.cfg": "ui menu.c32\n" + LABELS,
        "/isolinux/isolinux.cfg": "default nobody-reads-this\n",
    },
    "in /boot/syslinux, by a path": {
        "/boot/syslinux/syslinux.cfg": "include /menus/all.cfg\n",
        "/menus/all.cfg": "ui menu.c32\n" + LABELS,
    },
    "without a menu": {"/isolinux/isolinux.cfg": "default linux\ntimeout 600\n" + LABELS},
    "with a prompt": {
        "/isolinux/isolinux.cfg": (
            "default linux\nprompt 1\ntimeout 600\nontimeout local\n"
            + LABELS
            + "label local\n localboot 0x80\n"
        )
    },
    "in a submenu only": {
        "/isolinux/isolinux.cfg": (
            "ui menu.c32\nlabel local\n  localboot 0x80\nmenu begin Install\n" + LABELS + "menu end\n"
        )
    },
    "in another configuration": {
        "/isolinux/isolinux.cfg": "default go\nlabel go\n  config /other/menu.cfg\n",
        "/other/menu.cfg": "ui menu.c32\n" + LABELS,
    },
}


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
            bios=("images/eltorito.img", mbr),
            esp=esp,
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


def volume(files: Mapping[str, str], *, name: str = ISO, label: str = "V") -> BootVolume:
    return BootVolume(name=name, label=label, uuid="", read=files.get, has=lambda path: path in files)


def added(
    place: Path, source: Path, text: str = KICKSTART, *, default: bool = True
) -> dict[Firmware, remaster.Seen]:
    (place / "my.ks").write_text(text)
    seen = remaster.add_kickstart(source, place / "my.ks", place / "out.iso", syntax="F28", default=default)
    return {one.firmware: one for one in seen}
