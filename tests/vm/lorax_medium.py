"""A medium as lorax makes it: isolinux with vesamenu.c32 for BIOS, GRUB in an ESP that is a file for UEFI,
nothing on the serial console.

Menus, paths and the options of mkisofs are lorax 26.9's (share/templates.d/99-generic: x86.tmpl, efi.tmpl,
and in config_files/x86 isolinux.cfg, grub2-efi.cfg). isolinux and GRUB are Debian's. Kernel and initramfs are
the live installer's; a stand-in for Anaconda takes its place there, see `anaconda.sh`.
"""

import gzip
import stat
from pathlib import Path, PurePosixPath

from imagebuild.deploy import bootloader
from imagebuild.installers.live import initramfs
from imagebuild.model import Tree
from imagebuild.tools import command
from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.repository import Repo

VOLUME = "Demo-26-x86_64"
SYSLINUX = Path("/usr/lib/syslinux/modules/bios")
ISOLINUX = Path("/usr/lib/ISOLINUX/isolinux.bin")
GRUB_MODULES = (
    "normal",
    "configfile",
    "linux",
    "linuxefi",
    "search",
    "search_label",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "fat",
    "ext2",
    "gzio",
    "echo",
    "test",
    "all_video",
    "efi_gop",
    "efi_uga",
    "video_bochs",
    "video_cirrus",
    "font",
    "reboot",
    "halt",
)
ISOLINUX_MENU = """default vesamenu.c32
timeout 600

display boot.msg

menu clear
menu background splash.png
menu title Demo 26
menu vshift 8
menu rows 18
menu margin 8
#menu hidden
menu helpmsgrow 15
menu tabmsgrow 13
menu color sel 0 #ffffffff #00000000 none
menu color unsel 0 #84b8ffff #00000000 none
menu tabmsg Tab shows what an entry does.

menu separator # insert an empty line
menu separator # insert an empty line

label linux
  menu label ^Install Demo 26
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={volume} quiet

label check
  menu label Test this ^media & install Demo 26
  menu default
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={volume} rd.live.check quiet

menu separator # insert an empty line

# utilities submenu
menu begin ^Troubleshooting
  menu title Troubleshooting

label vesa
  menu indent count 5
  menu label Install Demo 26 in ^basic graphics mode
  text help
	For a screen that stays dark.
  endtext
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={volume} nomodeset quiet

label rescue
  menu indent count 5
  menu label ^Rescue a Demo system
  text help
	For a system that does not start.
  endtext
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL={volume} rescue quiet

menu separator # insert an empty line

label local
  menu label Boot from ^local drive
  localboot 0xffff

menu separator # insert an empty line

label returntomain
  menu label Return to ^main menu
  menu exit

menu end
"""
GRUB_MENU = """set default="1"

function load_video {{
  insmod efi_gop
  insmod efi_uga
  insmod video_bochs
  insmod video_cirrus
  insmod all_video
}}

load_video
set gfxpayload=keep
insmod gzio
insmod part_gpt
insmod ext2

set timeout=60

search --no-floppy --set=root -l '{volume}'

menuentry 'Install Demo 26' --class fedora --class gnu-linux --class gnu --class os {{
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={volume} quiet
	initrdefi /images/pxeboot/initrd.img
}}
menuentry 'Test this media & install Demo 26' --class fedora --class gnu-linux --class gnu --class os {{
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={volume} rd.live.check quiet
	initrdefi /images/pxeboot/initrd.img
}}
submenu 'Troubleshooting -->' {{
	menuentry 'Install Demo 26 in basic graphics mode' --class fedora --class gnu-linux --class gnu --class os {{
		linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={volume} nomodeset quiet
		initrdefi /images/pxeboot/initrd.img
	}}
	menuentry 'Rescue a Demo system' --class fedora --class gnu-linux --class gnu --class os {{
		linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL={volume} rescue quiet
		initrdefi /images/pxeboot/initrd.img
	}}
}}
"""  # noqa: E501


def make(tree: Tree, target: Path, work: Path) -> None:
    """Write the medium to `target`."""
    root = work / "medium"
    for name in ("isolinux", "images/pxeboot", "EFI/BOOT"):
        (root / name).mkdir(parents=True)
    repo = Repo(tree.repo)
    kernel = repo.read(tree.commit, str(boot_files(repo, tree.commit).kernel))
    assert kernel is not None
    initrd = _initrd(repo, tree)
    for directory in ("isolinux", "images/pxeboot"):
        (root / directory / "vmlinuz").write_bytes(kernel)
        (root / directory / "initrd.img").write_bytes(initrd)
    for file in (
        ISOLINUX,
        *(SYSLINUX / name for name in ("vesamenu.c32", "ldlinux.c32", "libcom32.c32", "libutil.c32")),
    ):
        (root / "isolinux" / file.name).write_bytes(file.read_bytes())
    (root / "isolinux" / "boot.msg").write_text("\x0cDemo 26\n")
    (root / "isolinux" / "isolinux.cfg").write_text(ISOLINUX_MENU.format(volume=VOLUME))
    (root / "images" / "install.img").write_bytes(b"stands for the installer's root file system\n")
    _make_esp(root, work)
    # without what isohybrid(1) does for sticks
    command.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-o",
            target,
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
            VOLUME,
            root,
        ]
    )


def _make_esp(root: Path, work: Path) -> None:
    program, esp, menu = work / "bootx64.efi", root / "images" / "efiboot.img", root / "EFI/BOOT/grub.cfg"
    command.run(["grub-mkimage", "-O", "x86_64-efi", "-p", "/EFI/BOOT", "-o", program, *GRUB_MODULES])
    menu.write_text(GRUB_MENU.format(volume=VOLUME))
    with esp.open("wb") as stream:
        stream.truncate(8 << 20)
    command.run(["mkfs.vfat", "-n", "ANACONDA", esp])
    boot = PurePosixPath("EFI/BOOT")
    files = {boot / "BOOTX64.EFI": program.read_bytes(), boot / "grub.cfg": menu.read_bytes()}
    bootloader.fill_with_mtools(esp, files)


def _initrd(repo: Repo, tree: Tree) -> bytes:
    def read(path: str) -> bytes | None:
        return repo.read(tree.commit, path)

    beginning = initramfs.build(read, tree.kernel, volume_id=VOLUME)
    # the kernel unpacks one archive after the other: this init takes the place of the first one's
    archive = initramfs.Archive()
    archive.add("init", stat.S_IFREG | 0o755, Path(__file__).with_name("anaconda.sh").read_bytes())
    directory = f"usr/lib/modules/{tree.kernel}"
    dependencies = (read(f"{directory}/modules.dep") or b"").decode()
    for number, path in enumerate(reversed(initramfs.closure(dependencies, ["virtio_console"]))):
        archive.add(
            f"console-modules/{number:02}.ko",
            stat.S_IFREG | 0o644,
            initramfs._unpacked(path, read(f"{directory}/{path}") or b""),
        )
    return beginning + gzip.compress(archive.finish(), mtime=0)
