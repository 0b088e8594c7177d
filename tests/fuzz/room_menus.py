"""Boot menus, programs of firmware, logs of writes, metadata of package repositories: of media and trees of
others.
"""

import struct
from pathlib import Path

from imagebuild.deploy import grub_image
from imagebuild.installers.lorax import metadata
from imagebuild.kinds import Firmware
from imagebuild.tools import isa, write_log
from imagebuild.tools.menus import grub_menu, isolinux_menu
from imagebuild.tools.menus.menu import BootVolume
from imagebuild.tools.secure_boot import program, sbat, signature
from tests.data import ROOT
from tests.fuzz.bench import Reader
from tests.fuzz.cases import changed

GRUB = b"""set default="1"
set timeout=60
function load_video { insmod all_video }
if [ "$x" = y ]; then set a=$b; else search --no-floppy --set=root -l 'V'; fi
for i in 1 2; do echo $i; done
menuentry 'Install' --class x --hotkey i { linux /images/pxeboot/vmlinuz inst.ks=hd:LABEL=V:/ks.cfg quiet
initrd /images/pxeboot/initrd.img }
submenu 'More -->' { menuentry "a\\"b" { linux /v ${a} "$1"; initrd /i } source /EFI/BOOT/grub.cfg }
while [ -f /x ]; do true; done
"""
ISOLINUX = b"""default vesamenu.c32
timeout 600
menu title ^Fedora
label linux
  menu label ^Install
  menu default
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=V quiet
menu begin
  include isolinux.cfg
menu end
label ^x
"""
REPOMD = b"""<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary">
<checksum type="sha256">ab</checksum></data></repomd>"""
METALINK = b"""<?xml version="1.0"?>
<metalink xmlns="http://www.metalinker.org/"><files><file name="repomd.xml">
<verification><hash type="sha512">ab</hash></verification></file></files></metalink>"""
ELF = (ROOT / "tests/data/elf/x86-64-v3").read_bytes()
SBAT = b"sbat,1,SBAT Version,sbat,1,https://x\nshim,4,UEFI shim,shim,1,https://x\n"
LEVELS = struct.pack("<III", 0, 8, 20) + b"sbat,1\nshim,2\n\0sbat,1\nshim,4\n\0"
PE = (
    b"MZ"
    + bytes(58)
    + struct.pack("<I", 64)
    + b"PE\0\0"
    + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
).ljust(1024, b"\0")
INDIRECT = signature.INDIRECT_DATA + b"\x30\x82\x00\x04\x04\x02ab"
GRUB_IMAGE = (
    b"x" * 40
    + b"mimg"
    + struct.pack("<4xQQ", 24, 60)
    + struct.pack("<II", 3, 18)
    + b"/boot/grub"
    + struct.pack("<II", 0, 18)
    + b"\x7fELF"
    + bytes(20)
)
WRITES = (
    struct.pack("<QQQI", write_log.MAGIC, 1, 2, 512).ljust(512, b"\0")
    + (struct.pack("<QQQQ", 0, 1, 0, 3) + b"x").ljust(512, b"\0")
    + bytes(512)
    + struct.pack("<QQQQ", 0, 0, 1, 0).ljust(512, b"\0")
)


def _volume(data: bytes, names: tuple[str, ...], name: str = "cd0") -> BootVolume:
    text = data.decode("utf-8", "surrogateescape")
    return BootVolume(
        name=name,
        label="V",
        uuid="u",
        read=lambda path: text if path in names else None,
        has=lambda path: path in names,
    )


def _grub(data: bytes, _place: Path) -> object:
    paths = ("/EFI/BOOT/grub.cfg",)
    return [
        grub_menu.read([_volume(data, paths)], paths[0], firmware)
        for firmware in (Firmware.BIOS, Firmware.UEFI)
    ]


def _isolinux(data: bytes, _place: Path) -> object:
    return isolinux_menu.read(_volume(data, ("/isolinux/isolinux.cfg",)))


def _writes(data: bytes, place: Path) -> object:
    (place / "log").write_bytes(data)
    return write_log.read(place / "log", disk_size=1 << 20)


READERS = (
    Reader(name="GRUB's menu", read=_grub, contents=changed([GRUB]), cases=25),
    Reader(name="isolinux' menu", read=_isolinux, contents=changed([ISOLINUX])),
    Reader(name="level of a program", read=lambda data, _: isa.level(data), contents=changed([ELF])),
    Reader(name="SBAT", read=lambda data, _: sbat.generations(data), contents=changed([SBAT])),
    Reader(name="levels of SBAT", read=lambda data, _: sbat.levels(data), contents=changed([LEVELS])),
    Reader(name="UEFI program", read=lambda data, _: program.read(data), contents=changed([PE])),
    Reader(
        name="signature of a program",
        read=lambda data, _: signature._signed_content(data),
        contents=changed([INDIRECT]),
    ),
    Reader(
        name="issuer of a signature", read=lambda data, _: program.issuers(data), contents=changed([INDIRECT])
    ),
    Reader(name="GRUB's image", read=lambda data, _: grub_image.read(data), contents=changed([GRUB_IMAGE])),
    Reader(name="log of writes", read=_writes, contents=changed([WRITES])),
    Reader(
        name="repomd.xml",
        read=lambda data, _: metadata._of_repomd(metadata._bounded(data)),
        contents=changed([REPOMD]),
        errors=(ValueError,),
    ),
    Reader(
        name="metalink",
        read=lambda data, _: metadata._of_metalink(metadata._bounded(data)),
        contents=changed([METALINK]),
        errors=(ValueError,),
    ),
)
