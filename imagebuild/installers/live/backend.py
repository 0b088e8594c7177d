"""The live installer: a hybrid ISO from the committed tree alone. No packages, no root.

The toolbox's squashfs is compressed once more and is everything at the same time: the live root, the programs
that install, and the repository they install from. Paths are lorax's, so that what knows lorax's media knows
ours.
"""

import os
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path, PurePosixPath

from imagebuild import steplog
from imagebuild.architectures.architecture import BootLoader
from imagebuild.architectures.registry import loader_of
from imagebuild.deploy import bootloader
from imagebuild.deploy.bootloader import GrubLayout
from imagebuild.deploy.signed_loader import REMOVABLE, UnsignedError, find_signed
from imagebuild.deploy.target import File, Sandbox
from imagebuild.deploy.ways import WAYS
from imagebuild.files import sha256
from imagebuild.installers.installer import Request, discinfo
from imagebuild.installers.live import initramfs, menu, netboot, product
from imagebuild.installers.live.options import LiveConfig
from imagebuild.kinds import Firmware
from imagebuild.tools import command, iso_writer, squashfs
from imagebuild.tools.ostree.kernel import boot_files
from imagebuild.tools.ostree.repository import Repo

MIB = 1 << 20
WORK = PurePosixPath("/run/grub-iso")
MODULES = (
    "normal",
    "configfile",
    "linux",
    "search",
    "search_label",
    "search_fs_file",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "fat",
    "chain",
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
    "loopback",
)
BIOS_MODULES = ("biosdisk", "vga_text")
UEFI_MODULES = ("efi_gop", "all_video", "font", "gfxterm")
# the menu beside the program on the ESP, or on the CD whose ESP this is; then the medium by its label (a copy
# of the files, say)
UEFI_CONFIG = """if [ -f $cmdpath/grub.cfg ]; then
  set prefix=$cmdpath
else
  search --no-floppy --set=root --label {volume}
  set prefix=($root)/EFI/BOOT
fi
configfile $prefix/grub.cfg
"""
# of a signed GRUB, which looks where its own maker's media have it: lead to the menu that ISOs of ours have
LEADS = """search --no-floppy --set=root --label {volume}
set prefix=($root)/EFI/BOOT
configfile $prefix/grub.cfg
"""
# what these and the menu take of a GRUB that loads no modules
NEEDED = ("normal", "configfile", "linux", "search", "search_label", "iso9660", "test", "serial", "terminal")
ESP_SIZE = 4 * MIB
KICKSTART = "/ks.cfg"
MENU = REMOVABLE / "grub.cfg"


def build(out: Path, request: Request) -> Path:
    """Write the ISO into `out` and return it. Raises BuildError: a tree without what is needed (GRUB, Python,
    modules).
    """
    work, toolbox = out / "work", request.toolbox
    assert toolbox is not None, "this backend is wired with one"
    work.mkdir()
    volume = request.config.volume_id
    options = request.config.options(LiveConfig)
    machine = loader_of(request.tree.arch)
    with ThreadPoolExecutor(1) as beside:
        # the one long piece of work; everything else is done meanwhile
        target = work / "install.img"
        payload = beside.submit(copy_context().run, _compress, toolbox.image, target, options)
        with WAYS[request.ways[0]].open(None, toolbox.image, None) as sandbox:
            layout = bootloader.find_layout(sandbox)
            esp = _make_grub(sandbox, layout, work, volume, machine)
            network = netboot.make(sandbox, layout, work, request.title, request.tree.arch)
            program = product.compile_program(sandbox)
        _make_product(work, request, program)
        repo = Repo(request.tree.repo)
        beginning = _make_boot(work, request, repo)
        payload.result()
    images = {name: sha256(work / name) for name in ("install.img", "product.img")}
    (work / "initrd.img").write_bytes(beginning + initramfs.sums(images))
    firmwares = [*([Firmware.BIOS] if machine.bios is not None else []), Firmware.UEFI]
    for boots_with in firmwares:
        kickstart = KICKSTART if request.unattended is not None else None
        entries = menu.entries(request.title, volume, boots_with, kickstart, request.tree.arch)
        text = menu.grub_menu(entries, volume, timeout=request.config.timeout)
        (work / f"grub-{boots_with}.cfg").write_text(text)
    esp |= {MENU: (work / "grub-uefi.cfg").read_bytes()}
    _make_esp(work, request, esp)
    image = out / f"{request.name}.iso"
    _assemble(image, work, request, {**_beside(work / "esp", esp), **network})
    return image


def _compress(toolbox: Path, target: Path, options: LiveConfig) -> None:
    """Compress the toolbox: a stream from one squashfs to another, so nothing is unpacked."""
    level = (
        ["-Xcompression-level", str(options.level)]
        if options.compression == "zstd"
        else ["-b", "1M"]
        if options.compression == "xz"
        else []
    )
    argv = squashfs.from_tar(target, ["-comp", options.compression, *level])
    with Path(os.devnull).open("wb") as nowhere:
        command.pipe(["sqfs2tar", toolbox], argv, stdout=nowhere)


def _make_grub(
    sandbox: Sandbox, layout: GrubLayout, work: Path, volume: str, machine: BootLoader
) -> dict[PurePosixPath, bytes]:
    """Have the tree's own grub-mkimage make the images for BIOS, where there are such machines; return path
    -> content of what UEFI starts.
    """
    sandbox.run(["mkdir", "-p", WORK])
    if machine.bios is not None:
        _make_bios(sandbox, layout, work, machine.bios)
    try:
        signed = find_signed(sandbox, NEEDED, machine, medium=True)
        return signed.on_medium(LEADS.format(volume=volume))
    except UnsignedError as error:
        steplog.note(f"the ISO is not for Secure Boot: {error.message}")
        return _unsigned(sandbox, layout, volume, machine)


def _make_bios(sandbox: Sandbox, layout: GrubLayout, work: Path, platform: str) -> None:
    bios = f"{layout.modules}/{platform}"
    sandbox.run(
        [
            layout.program,
            "-O",
            f"{platform}-eltorito",
            "-d",
            bios,
            "-p",
            "/boot/grub2",
            "-o",
            WORK / "eltorito.img",
            *MODULES,
            *BIOS_MODULES,
        ],
    )
    (work / "eltorito.img").write_bytes(sandbox.read(WORK / "eltorito.img"))
    (work / "boot_hybrid.img").write_bytes(sandbox.read(PurePosixPath(bios) / "boot_hybrid.img"))


def _unsigned(
    sandbox: Sandbox, layout: GrubLayout, volume: str, machine: BootLoader
) -> dict[PurePosixPath, bytes]:
    """Have the tree's own grub-mkimage make the program that UEFI starts."""
    sandbox.write({WORK / "uefi.cfg": File(data=UEFI_CONFIG.format(volume=volume).encode())})
    sandbox.run(
        [
            layout.program,
            "-O",
            machine.platform,
            "-d",
            f"{layout.modules}/{machine.platform}",
            "-p",
            "/EFI/BOOT",
            "-c",
            WORK / "uefi.cfg",
            "-o",
            WORK / "uefi.img",
            *MODULES,
            *UEFI_MODULES,
        ],
    )
    return {REMOVABLE / machine.removable: sandbox.read(WORK / "uefi.img")}


def _make_product(work: Path, request: Request, program: bytes) -> None:
    facts = product.ProductFacts(
        product=request.title,
        version=request.tree.version,
        ref=request.tree.follows,
        commit=request.tree.commit,
        kernel=request.tree.kernel,
        syntax=request.defaults.syntax,
        signed=bool(request.keys),
    )
    keys = [key.read_bytes() for key in request.keys]
    product.write_tree(work / "product", facts, request.defaults.file.read_text(), keys, program)
    command.run(
        [
            "mksquashfs",
            work / "product",
            work / "product.img",
            "-comp",
            "gzip",
            "-all-root",
            "-quiet",
            "-no-progress",
            "-mkfs-time",
            "0",
            "-all-time",
            "0",
        ]
    )


def _make_boot(work: Path, request: Request, repo: Repo) -> bytes:
    """Write the tree's kernel, and return the initramfs without the checksums of the images."""
    commit = request.tree.commit
    kernel = repo.read(commit, str(boot_files(repo, commit).kernel))
    assert kernel is not None, "boot_files returns what is there"
    (work / "vmlinuz").write_bytes(kernel)
    made = initramfs.build(
        lambda path: repo.read(commit, path),
        request.tree.kernel,
        volume_id=request.config.volume_id,
        busybox=initramfs.static_busybox(lambda path: repo.read(commit, path), request.tree.arch),
    )
    steplog.note(f"initramfs: {len(made) / MIB:.1f} MiB")
    return made


def _make_esp(work: Path, request: Request, files: Mapping[PurePosixPath, bytes]) -> None:
    """Make the FAT image that UEFI boots from: the boot loader and its menu."""
    image = work / "efiboot.img"
    with image.open("wb") as stream:
        stream.truncate(max(ESP_SIZE, bootloader.room_for(files)))
    identifier = request.tree.commit[:8].upper()
    command.run(["mkfs.vfat", "--invariant", "-F", "12", "-i", identifier, "-n", "ANACONDA", image])
    bootloader.fill_with_mtools(image, files)


def _assemble(image: Path, work: Path, request: Request, more: Mapping[str, Path]) -> None:
    (work / "discinfo").write_text(discinfo(request.epoch, request.tree.version, request.tree.arch))
    files = {
        ".discinfo": work / "discinfo",
        ".treeinfo": request.treeinfo,
        "images/install.img": work / "install.img",
        "images/product.img": work / "product.img",
        "images/efiboot.img": work / "efiboot.img",
        "images/pxeboot/vmlinuz": work / "vmlinuz",
        "images/pxeboot/initrd.img": work / "initrd.img",
        **more,
    }
    has_bios = loader_of(request.tree.arch).bios is not None
    if has_bios:
        files |= {
            "images/eltorito.img": work / "eltorito.img",
            "boot/grub2/grub.cfg": work / "grub-bios.cfg",
        }
    if request.unattended is not None:
        files[KICKSTART.lstrip("/")] = request.unattended.file
    serial = str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagebuild:{request.tree.commit}:iso"))
    iso_writer.write(
        image,
        files,
        volume=request.config.volume_id,
        bios=("images/eltorito.img", work / "boot_hybrid.img") if has_bios else None,
        esp=work / "efiboot.img",
        epoch=request.epoch,
        serial=serial,
    )
    iso_writer.implant_md5(image)


def _beside(directory: Path, esp: Mapping[PurePosixPath, bytes]) -> dict[str, Path]:
    """Write the files of the ESP into a directory; return path in the ISO -> file: firmware that sees a CD
    hands GRUB the ISO's file system, not the ESP's.
    """
    for path, data in esp.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return {str(path): directory / path for path in esp}
