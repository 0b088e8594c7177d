"""GRUB on a disk image without grub-install: images made by the tree's own grub-mkimage, written to the plain
file; under UEFI the tree's signed boot loader, where it has one.

The block lists follow GRUB's manual ("Images") and grub-core/boot/i386/pc/{boot,diskboot}.S: boot.img holds
the sector of core.img at 0x5c and a jump to be disabled at 0x66; core.img's first sector ends with a block
list (start, sectors - 1, segment 0x820) for the rest of it.
"""

import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.architectures.architecture import BootLoader
from imagebuild.architectures.registry import loader_of
from imagebuild.deploy import boot_menu
from imagebuild.deploy.boot_menu import TreeGrub
from imagebuild.deploy.signed_loader import REMOVABLE, SignedLoader, UnsignedError, find_signed
from imagebuild.deploy.target import File, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.layout import MIB, SECTOR, Partition
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import BootMenu, Firmware
from imagebuild.tools import command, temporary

MODULES = (
    "normal",
    "configfile",
    "linux",
    "search",
    "search_fs_uuid",
    "part_gpt",
    "part_msdos",
    "ext2",
    "lvm",
    "xfs",
    "echo",
    "test",
    "ls",
    "cat",
    "help",
    "reboot",
    "halt",
    "serial",
    "terminal",
    "gzio",
    "sleep",
    "probe",
    "regexp",
    "password_pbkdf2",
    "loadenv",
)
BIOS_MODULES = ("biosdisk", "vga_text")
# all_video brings what there is of drivers: GRUB 2.14 has no efi_uga any more
UEFI_MODULES = ("fat", "efi_gop", "all_video", "font", "gfxterm")
# what a menu of ours, and the way to it, take of a GRUB that loads no modules
MENU_MODULES = ("normal", "configfile", "linux", "search", "search_fs_uuid", "echo", "test")
READERS = {"ext4": "ext2", "xfs": "xfs", "gpt": "part_gpt", "mbr": "part_msdos"}
MENUS = {
    BootMenu.GENERATED: "generated for each deployment",
    BootMenu.ENTRIES: "boot loader entries, which GRUB reads itself",
}
WORK = PurePosixPath("/run/grub")
# of a FAT file system, at most: a cluster, and what it needs for itself below 2 GiB
CLUSTER, OVERHEAD = 4096, 2 * MIB
# with room for the tables themselves
FAT32_CLUSTERS = 65525 + 1024
# mtools writes SOURCE_DATE_EPOCH instead of now
Fill = Callable[[Path, Mapping[PurePosixPath, bytes]], None]
MTOOLS = {"SOURCE_DATE_EPOCH": "0", "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}


@dataclass(frozen=True, kw_only=True)
class GrubLayout:
    """How a tree has GRUB: its image maker, its modules, and the directory below /boot its menu lies in."""

    program: str
    modules: str
    directory: str


LAYOUTS = (
    GrubLayout(program="grub-mkimage", modules="/usr/lib/grub", directory="grub"),
    GrubLayout(program="grub2-mkimage", modules="/usr/lib/grub", directory="grub2"),
)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """GRUB as the tree makes or has it: the directory below /boot its menu lies in, its version, and the
    images for the plan's firmware.

    `esp`: path -> content of what UEFI starts; `unsigned` says why that is not a signed boot loader (None: it
    is one, or there is no UEFI).
    """

    directory: str
    version: str
    menu: BootMenu = BootMenu.GENERATED
    boot: bytes = b""
    core: bytes = b""
    esp: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    unsigned: str | None = None


SERIAL = "serial --unit=0 --speed=115200\nterminal_input console serial\nterminal_output console serial\n"


def early_config(plan: Plan, directory: str, *, serial: bool = True) -> str:
    """Return the configuration embedded in the images, or beside a signed one: find /boot by its UUID, talk
    to screen and serial line, read the menu.
    """
    return (
        f"{SERIAL if serial else ''}"
        f"search --no-floppy --fs-uuid --set=root {plan.uuid('boot')}\n"
        f"set prefix=($root)/{directory}\n"
        f"configfile ($root)/{directory}/grub.cfg\n"
    )


def find_layout(target: Sandbox) -> GrubLayout:
    """Return which of the LAYOUTS the tree has. Raises BuildError for a tree without GRUB."""
    found = target.run(
        ["sh", "-c", 'for p; do command -v "$p" || :; done', "sh", *[layout.program for layout in LAYOUTS]]
    )
    for layout in LAYOUTS:
        if any(line.rpartition("/")[2] == layout.program for line in found.splitlines()):
            return layout
    raise BuildError(
        "the tree has no grub-mkimage: no boot loader can be made from it",
        hint="add GRUB's tools to the compose",
    )


def make_loader(target: Sandbox, plan: Plan) -> Loader:
    """Have the tree's grub-mkimage make what the plan's firmware needs, or take what the tree has signed.
    Nothing of the disk is touched. Raises BuildError when the tree lacks GRUB or its modules, or when the ESP
    has no room for it.
    """
    layout, machine = find_layout(target), loader_of(plan.arch)
    bios = machine.bios if Firmware.BIOS in plan.firmware else None
    uefi = machine.platform if any(firmware.is_uefi for firmware in plan.firmware) else None
    platforms = [platform for platform in (bios, uefi) if platform is not None]
    tree = boot_menu.look(target, [f"{layout.modules}/{platform}" for platform in platforms])
    boot_menu.check_asked(plan, tree)
    target.write({WORK / "early.cfg": File(data=_early(plan, layout, machine).encode())})
    menu, boot, core = boot_menu.chosen(plan, tree), b"", b""
    esp, unsigned = dict[PurePosixPath, bytes](), None
    if uefi is not None:
        signed = _signed(target, plan)
        if isinstance(signed, SignedLoader):
            menu = boot_menu.readable(menu, plan, tree, signed.image.modules)
            lacks = boot_menu.lacking(menu, signed.image.modules)
            signed = signed if lacks is None else UnsignedError(lacks)
        names = (*_modules(menu, tree), *UEFI_MODULES)
        esp, unsigned = _uefi_files(target, plan, layout, signed, names)
        check_room(plan, esp)
    if bios is not None:
        names = (*_modules(menu, tree), *BIOS_MODULES)
        _mkimage(target, layout, bios, "core.img", names)
        boot = target.read(PurePosixPath(layout.modules) / bios / "boot.img")
        core = target.read(WORK / "core.img")
    version = target.run([layout.program, "--version"]).strip()
    steplog.note(f"GRUB's menu: {MENUS[menu]}")
    return Loader(
        directory=layout.directory,
        version=version,
        menu=menu,
        boot=boot,
        core=core,
        esp=esp,
        unsigned=unsigned,
    )


def _early(
    plan: Plan, layout: GrubLayout, machine: BootLoader, modules: Collection[str] = ("serial",)
) -> str:
    serial = machine.own_serial and "serial" in modules
    return early_config(plan, layout.directory, serial=serial)


def _modules(menu: BootMenu, tree: TreeGrub) -> tuple[str, ...]:
    reader = tree.reader if menu is BootMenu.ENTRIES else None
    # generated menus of Fedora's count boots with it
    more = [name for name in (reader, "increment") if name is not None and name in tree.modules]
    return (*MODULES, *more)


def _signed(target: Sandbox, plan: Plan) -> SignedLoader | UnsignedError:
    """Return the tree's signed boot loader, or why it has none that can be used."""
    boot = next((fstype for mount, _, fstype in plan.file_systems() if mount == "/boot"), plan.root()[1])
    needed = {*MENU_MODULES, READERS.get(boot, boot), READERS[plan.table]}
    try:
        modules = sorted(needed | ({"password_pbkdf2"} if plan.boot_password else set()))
        return find_signed(target, modules, loader_of(plan.arch))
    except UnsignedError as error:
        return error


def _uefi_files(
    target: Sandbox,
    plan: Plan,
    layout: GrubLayout,
    signed: SignedLoader | UnsignedError,
    modules: tuple[str, ...],
) -> tuple[dict[PurePosixPath, bytes], str | None]:
    """Return path -> content of the ESP, and why that is not a signed boot loader (None: it is)."""
    machine = loader_of(plan.arch)
    if isinstance(signed, SignedLoader):
        return signed.on_disk(_early(plan, layout, machine, signed.image.modules)), None
    steplog.note(f"the disk is not for Secure Boot: {signed.message}")
    _mkimage(target, layout, machine.platform, f"boot{machine.efi}.efi", modules)
    return {REMOVABLE / machine.removable: target.read(WORK / f"boot{machine.efi}.efi")}, signed.message


def check_room(plan: Plan, files: Mapping[PurePosixPath, bytes]) -> None:
    """Raise BuildError, with the size that it needs, when the plan's ESP has no room for files."""
    esp = plan.partition("efi")
    needed = room_for(files)
    if esp is not None and esp.size < needed:
        raise BuildError(
            f"the ESP of {esp.size // MIB} MiB has no room for the tree's boot loader, which needs"
            f" {needed // MIB} MiB",
            hint=f"in the kickstart: part /boot/efi --fstype=efi --size={needed // MIB}, or more",
        )


def room_for(files: Mapping[PurePosixPath, bytes]) -> int:
    """Return the bytes, in whole MiB, of a FAT file system that holds files."""
    # and a cluster for each directory
    clusters = sum(-(-len(data) // CLUSTER) + 1 for data in files.values())
    return -(-(clusters * CLUSTER + OVERHEAD) // MIB) * MIB


def _mkimage(target: Sandbox, layout: GrubLayout, platform: str, output: str, names: tuple[str, ...]) -> None:
    modules = f"{layout.modules}/{platform}"
    target.run(
        [
            layout.program,
            "-O",
            platform,
            "-d",
            modules,
            "-p",
            "/grub",
            "-c",
            WORK / "early.cfg",
            "-o",
            WORK / output,
            *names,
        ]
    )


def write_loader(file: Path, plan: Plan, loader: Loader, *, fill: Fill | None = None) -> None:
    """Write GRUB into the disk (image): MBR and BIOS boot partition (or the gap before the first partition),
    and the ESP.

    `fill` copies files into a FAT image; mtools does it where nothing else is said.
    """
    if loader.core:
        _write_bios(file, plan, loader)
    esp = plan.partition("efi")
    if esp is not None:
        _write_esp(file, plan, loader, esp, fill or fill_with_mtools)


def _write_bios(file: Path, plan: Plan, loader: Loader) -> None:
    place = plan.partition("biosboot")
    start, room = (place.start, place.size) if place else (SECTOR, plan.partitions[0].start - SECTOR)
    if len(loader.core) > room:
        raise BuildError(
            f"GRUB's core image is {len(loader.core)} bytes, but there is room for {room} before /boot"
        )
    sector = start // SECTOR
    core = bytearray(loader.core)
    count = -(-len(core) // SECTOR)
    struct.pack_into("<QHH", core, 0x1F4, sector + 1, count - 1, 0x820)
    boot = bytearray(loader.boot)
    struct.pack_into("<Q", boot, 0x5C, sector)
    boot[0x66:0x68] = b"\x90\x90"
    with file.open("r+b") as disk:
        disk.write(boot[:0x1B8])  # the rest of the sector is the disk id and the partition table
        disk.seek(start)
        disk.write(core)


def _write_esp(file: Path, plan: Plan, loader: Loader, esp: Partition, fill: Fill) -> None:
    """Make the FAT file system beside the disk and copy it into its place: the host's kernel need not know
    FAT.
    """
    with temporary.within(file.parent, "esp") if file.is_file() else temporary.directory("esp") as place:
        image = place / "esp.img"
        with image.open("wb") as stream:
            stream.truncate(esp.size)
        command.run(
            [
                "mkfs.vfat",
                "--invariant",
                *_fat(esp.size, plan.sector_size),
                "-i",
                plan.volume_id("efi"),
                "-n",
                "EFI-SYSTEM",
                image,
            ]
        )
        fill(image, loader.esp)
        _copy(image, file, esp.start)


def _fat(size: int, sector: int) -> list[str]:
    """Return mkfs.vfat's options for an ESP: which FAT it is, firmware tells from the number of clusters, of
    which FAT32 has 65525 at least, each of a sector or more (Microsoft's FAT specification 1.03, p. 14).
    """
    if sector == SECTOR:
        return ["-F", "32" if size >= 64 << 20 else "16"]
    return ["-S", str(sector), "-F", "32" if size >= FAT32_CLUSTERS * sector else "16"]


def fill_with_mtools(image: Path, files: Mapping[PurePosixPath, bytes]) -> None:
    """Copy files (path -> content) into a FAT image, without mounting it; always in the same order."""
    # of a path after -i mtools takes some characters for its own (config.c of 4.0.33): it is given the name
    # alone, in its directory
    directories = {parent for path in files for parent in path.parents if parent.name}
    if directories:
        made = [f"::/{directory}" for directory in sorted(directories)]
        command.run(["mmd", "-i", image.name, *made], env=MTOOLS, cwd=image.parent)
    with temporary.within(image.parent, "fat") as place:
        for path, data in sorted(files.items()):
            (place / "file").write_bytes(data)
            copy_into_fat(image, place / "file", f"::/{path}")


def copy_into_fat(image: Path, file: Path, path: str) -> None:
    """Copy a file to a path (mtools(1): ::/…) of a FAT image, over what is there; always the same bytes."""
    command.run(["mcopy", "-o", "-i", image.name, file.absolute(), path], env=MTOOLS, cwd=image.parent)


def _copy(source: Path, file: Path, start: int) -> None:
    """Copy a file system into the disk at an offset. In a new image zeros are there already; on a disk there
    may be anything.
    """
    chunk, sparse = 1 << 16, file.is_file()
    with source.open("rb") as stream, file.open("r+b") as disk:
        for position in range(0, source.stat().st_size, chunk):
            data = stream.read(chunk)
            if not sparse or data.strip(b"\0"):
                disk.seek(start + position)
                disk.write(data)
