"""What boots the live installer from the network: the tree's own GRUB for PXE under BIOS and UEFI, and its
menu, beside kernel and initramfs in images/pxeboot.

Both are what grub-mknetdir(1) of GRUB 2.06 makes, with the menu beside the program instead of below a prefix:
`$cmdpath` is the directory on the TFTP server that the program came from (grub-core/net/bootp.c,
grub_net_configure_by_dhcp_ack). Kernel and initramfs come over TFTP, which nobody signs; what they fetch over
HTTP must have the sums that are in the initramfs (templates/live/init.sh).
"""

from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.config.places import template
from imagebuild.deploy.bootloader import GrubLayout
from imagebuild.deploy.target import File, Sandbox
from imagebuild.installers.live.menu import CONSOLES
from imagebuild.installers.treeinfo import NETWORK_BIOS, NETWORK_MENU, NETWORK_UEFI

WORK = PurePosixPath("/run/grub-net")
MENU = "live/netboot.cfg"
DATA = (MENU,)
MODULES = (
    *("normal", "configfile", "linux", "echo", "test", "ls", "cat", "help", "sleep", "serial", "terminal"),
    *("reboot", "halt", "net", "tftp", "http", "gzio"),
)
# GRUB's platform -> where its program lies, its modules of it
PLATFORMS = {
    "i386-pc-pxe": (NETWORK_BIOS, "i386-pc", ("pxe", "vga_text", "biosdisk")),
    "x86_64-efi": (NETWORK_UEFI, "x86_64-efi", ("efinet", "efi_gop", "all_video")),
}
EARLY = "configfile $cmdpath/grub.cfg\n"


def make(sandbox: Sandbox, layout: GrubLayout, work: Path, title: str) -> dict[str, Path]:
    """Have the tree's grub-mkimage make a program for each firmware; return path on the medium -> file. A
    tree whose GRUB cannot boot from a network gets none.
    """
    made = dict[str, Path]()
    sandbox.write({WORK / "early.cfg": File(data=EARLY.encode())})
    for platform, (path, directory, more) in PLATFORMS.items():
        if missing := _missing(sandbox, f"{layout.modules}/{directory}", (*MODULES, *more)):
            steplog.note(
                f"no boot from the network by {platform}: the tree's GRUB lacks {', '.join(missing)}"
            )
            continue
        output = WORK / path.rpartition("/")[2]
        modules = f"{layout.modules}/{directory}"
        argv: list[str | PurePosixPath] = [layout.program, "-O", platform, "-d", modules, "-p", ""]
        sandbox.run([*argv, "-c", WORK / "early.cfg", "-o", output, *MODULES, *more])
        made[path] = work / output.name
        made[path].write_bytes(sandbox.read(output))
    if made:
        made[NETWORK_MENU] = work / "netboot.cfg"
        made[NETWORK_MENU].write_text(menu(title))
    return made


def _missing(sandbox: Sandbox, modules: str, names: tuple[str, ...]) -> list[str]:
    there = sandbox.run(["sh", "-c", 'ls "$1" 2>/dev/null || :', "sh", modules]).split()
    return [name for name in names if f"{name}.mod" not in there]


def menu(title: str) -> str:
    """Return the menu, in which a title is plain text."""
    text = template(MENU).read_text().replace("{{ consoles }}", CONSOLES)
    return text.replace("{{ title }}", f"Install {title}".replace("'", ""))
