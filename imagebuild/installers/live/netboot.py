"""What boots the live installer from the network: the tree's own GRUB for PXE under BIOS and UEFI, and its
menu, beside kernel and initramfs in images/pxeboot.

Both are what grub-mknetdir(1) of GRUB 2.06 makes, with the menu beside the program instead of below a prefix:
`$cmdpath` is the directory on the TFTP server that the program came from (grub-core/net/bootp.c,
grub_net_configure_by_dhcp_ack). Kernel and initramfs come over TFTP, which nobody signs; what they fetch over
HTTP must have the sums that are in the initramfs (templates/live/init.sh).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.architectures.registry import DEFAULT, loader_of
from imagebuild.config.places import template
from imagebuild.deploy.bootloader import GrubLayout
from imagebuild.deploy.target import File, Sandbox
from imagebuild.installers.live.menu import consoles
from imagebuild.installers.treeinfo import NETWORK_BIOS, NETWORK_MENU, NETWORK_UEFI

WORK = PurePosixPath("/run/grub-net")
MENU = "live/netboot.cfg"
DATA = (MENU,)
MODULES = (
    *("normal", "configfile", "linux", "echo", "test", "ls", "cat", "help", "sleep", "serial", "terminal"),
    *("reboot", "halt", "net", "tftp", "http", "gzio"),
)
EARLY = "configfile $cmdpath/grub.cfg\n"


def _platforms(arch: str) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Yield GRUB's platforms for an architecture: where the program lies, where its modules are, which."""
    machine = loader_of(arch)
    if machine.bios is not None:
        yield f"{machine.bios}-pxe", NETWORK_BIOS, machine.bios, ("pxe", "vga_text", "biosdisk")
    yield machine.platform, NETWORK_UEFI, machine.platform, ("efinet", "efi_gop", "all_video")


def make(
    sandbox: Sandbox, layout: GrubLayout, work: Path, title: str, arch: str = DEFAULT
) -> dict[str, Path]:
    """Have the tree's grub-mkimage make a program for each firmware; return path on the medium -> file. A
    tree whose GRUB cannot boot from a network gets none.
    """
    made = dict[str, Path]()
    sandbox.write({WORK / "early.cfg": File(data=EARLY.encode())})
    for platform, path, directory, more in _platforms(arch):
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
        made[NETWORK_MENU].write_text(menu(title, arch))
    return made


def _missing(sandbox: Sandbox, modules: str, names: tuple[str, ...]) -> list[str]:
    there = sandbox.run(["sh", "-c", 'ls "$1" 2>/dev/null || :', "sh", modules]).split()
    return [name for name in names if f"{name}.mod" not in there]


def menu(title: str, arch: str = DEFAULT) -> str:
    """Return the menu, in which a title is plain text."""
    text = template(MENU).read_text().replace("{{ consoles }}", consoles(arch))
    return text.replace("{{ title }}", f"Install {title}".replace("'", ""))
