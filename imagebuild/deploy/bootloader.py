"""GRUB on a disk image without grub-install: images made by the tree's own grub-mkimage, written to the plain
file.

The block lists follow GRUB's manual ("Images") and grub-core/boot/i386/pc/{boot,diskboot}.S: boot.img holds
the sector of core.img at 0x5c and a jump to be disabled at 0x66; core.img's first sector ends with a block
list (start, sectors - 1, segment 0x820) for the rest of it.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagebuild.deploy.target import File, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.layout import SECTOR, Partition
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import Firmware
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
)
BIOS_MODULES = ("biosdisk", "vga_text")
UEFI_MODULES = ("fat", "efi_gop", "efi_uga", "all_video", "font", "gfxterm")
WORK = PurePosixPath("/run/grub")
# with room for the tables themselves
FAT32_CLUSTERS = 65525 + 1024
# mtools writes SOURCE_DATE_EPOCH instead of now
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
    """GRUB as the tree makes it: the directory below /boot its menu lies in, its version, and the images for
    the plan's firmware.
    """

    directory: str
    version: str
    boot: bytes = b""
    core: bytes = b""
    efi: bytes = b""


def early_config(plan: Plan, directory: str) -> str:
    """Return the configuration embedded in the images: find /boot by its UUID, talk to screen and serial
    line, read the menu.
    """
    return (
        "serial --unit=0 --speed=115200\n"
        "terminal_input console serial\n"
        "terminal_output console serial\n"
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


def make_loader(target: Sandbox, plan: Plan, layout: GrubLayout) -> Loader:
    """Have the tree's grub-mkimage make what the plan's firmware needs. Raises BuildError when the tree lacks
    the modules.
    """
    target.write({WORK / "early.cfg": File(data=early_config(plan, layout.directory).encode())})
    loader: dict[str, bytes] = {}
    if Firmware.BIOS in plan.firmware:
        _mkimage(target, layout, "i386-pc", "core.img", (*MODULES, *BIOS_MODULES))
        boot = PurePosixPath(layout.modules) / "i386-pc" / "boot.img"
        loader |= {"boot": target.read(boot), "core": target.read(WORK / "core.img")}
    if Firmware.UEFI in plan.firmware:
        _mkimage(target, layout, "x86_64-efi", "bootx64.efi", (*MODULES, *UEFI_MODULES))
        loader |= {"efi": target.read(WORK / "bootx64.efi")}
    version = target.run([layout.program, "--version"])
    return Loader(directory=layout.directory, version=version.strip(), **loader)


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


def write_loader(
    file: Path, plan: Plan, loader: Loader, *, fill: Callable[[Path, Path], None] | None = None
) -> None:
    """Write GRUB into the disk (image): MBR and BIOS boot partition (or the gap before the first partition),
    and the ESP.

    `fill` (FAT image, program) copies the program to /EFI/BOOT/BOOTX64.EFI; mtools does it where nothing else
    is said.
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


def _write_esp(
    file: Path, plan: Plan, loader: Loader, esp: Partition, fill: Callable[[Path, Path], None]
) -> None:
    """Make the FAT file system beside the disk and copy it into its place: the host's kernel need not know
    FAT.
    """
    with temporary.within(file.parent, "esp") if file.is_file() else temporary.directory("esp") as place:
        image, program = place / "esp.img", place / "bootx64.efi"
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
        if loader.efi:
            program.write_bytes(loader.efi)
            fill(image, program)
        _copy(image, file, esp.start)


def _fat(size: int, sector: int) -> list[str]:
    """Return mkfs.vfat's options for an ESP: which FAT it is, firmware tells from the number of clusters, of
    which FAT32 has 65525 at least, each of a sector or more (Microsoft's FAT specification 1.03, p. 14).
    """
    if sector == SECTOR:
        return ["-F", "32" if size >= 64 << 20 else "16"]
    return ["-S", str(sector), "-F", "32" if size >= FAT32_CLUSTERS * sector else "16"]


def fill_with_mtools(image: Path, program: Path) -> None:
    """Copy a program to /EFI/BOOT/BOOTX64.EFI of a FAT image (UEFI 2.10, 3.5.1.1), without mounting it."""
    # of a path after -i mtools takes some characters for its own (config.c of 4.0.33): it is given the name
    # alone, in its directory
    command.run(["mmd", "-i", image.name, "::/EFI", "::/EFI/BOOT"], env=MTOOLS, cwd=image.parent)
    copy_into_fat(image, program, "::/EFI/BOOT/BOOTX64.EFI")


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
