"""The initramfs of the live installer: a static busybox, the tree's kernel modules that find a medium, and a
small init. No root.

A newc archive (Documentation/driver-api/early-userspace/buffer-format.rst) compressed with gzip, which every
kernel reads. The same inputs give the same bytes.
"""

import gzip
import io
import lzma
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from imagebuild.architectures.registry import builder_architecture
from imagebuild.config.places import template
from imagebuild.errors import BuildError
from imagebuild.tools import command, oci, temporary

# what finds and mounts a medium: CD, USB, virtio, SATA, NVMe, SD, and the virtual machines' own controllers
MODULES = (
    "loop",
    "isofs",
    "squashfs",
    "overlay",
    "vfat",
    "ext4",
    "crc32c_generic",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859-1",
    "nls_utf8",
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "virtio_net",
    "sd_mod",
    "sr_mod",
    "cdrom",
    "sg",
    "ahci",
    "ata_piix",
    "ata_generic",
    "nvme",
    "usb-storage",
    "uas",
    "xhci-pci",
    "ehci-pci",
    "uhci-hcd",
    "ohci-pci",
    "usbhid",
    "hid-generic",
    "mmc_block",
    "sdhci-pci",
    "sdhci-acpi",
    "mptspi",
    "mptsas",
    "vmw_pvscsi",
    "megaraid_sas",
    "hv_storvsc",
    "hv_netvsc",
    "hyperv-keyboard",
    "xen-blkfront",
    "xen-netfront",
    "e1000",
    "e1000e",
    "igb",
    "r8169",
    "tg3",
    "vmxnet3",
    "8139cp",
)
APPLETS = (
    "sh",
    "cat",
    "cp",
    "cut",
    "chmod",
    "dd",
    "echo",
    "expr",
    "find",
    "findfs",
    "hexdump",
    "ifconfig",
    "insmod",
    "ip",
    "ls",
    "losetup",
    "md5sum",
    "mkdir",
    "mknod",
    "modprobe",
    "mount",
    "printf",
    "readlink",
    "reboot",
    "rm",
    "sed",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "switch_root",
    "udhcpc",
    "umount",
    "wget",
    "xargs",
    "dmesg",
)
LEVEL = 6
SUFFIX = re.compile(r"\.ko(\.(xz|gz|zst))?$")
DATA = ("live/init.sh", "live/udhcpc.sh")


@dataclass
class Archive:
    """A newc archive in the making; members in the order they are added, all of root, all of one time."""

    stream: io.BytesIO = field(default_factory=io.BytesIO)
    seen: set[str] = field(default_factory=set)

    def add(self, path: str, mode: int, data: bytes = b"", *, device: tuple[int, int] = (0, 0)) -> None:
        """Add a member, with its parent directories."""
        for parent in reversed(PurePosixPath(path).parents):
            if str(parent) not in (".", *self.seen):
                self.add(str(parent), stat.S_IFDIR | 0o755)
        self.seen.add(path)
        self._member(path, mode, data, device)

    def _member(self, path: str, mode: int, data: bytes, device: tuple[int, int]) -> None:
        name = path.encode() + b"\0"
        number = 0 if path == "TRAILER!!!" else len(self.seen)
        fields = (
            number,
            mode,
            0,
            0,
            2 if stat.S_ISDIR(mode) else 1,
            0,
            len(data),
            0,
            0,
            *device,
            len(name),
            0,
        )
        self.stream.write(b"070701" + b"".join(b"%08X" % each for each in fields) + name)
        self._pad()
        self.stream.write(data)
        self._pad()

    def _pad(self) -> None:
        self.stream.write(b"\0" * (-self.stream.tell() % 4))

    def finish(self) -> bytes:
        """Return the finished archive."""
        self._member("TRAILER!!!", 0, b"", (0, 0))
        return self.stream.getvalue()


def build(
    read: Callable[[str], bytes | None], kernel: str, *, volume_id: str, busybox: bytes | None = None
) -> bytes:
    """Return the compressed initramfs. `read` gives a file of the tree by its path (None: there is none).

    Raises BuildError: a tree whose modules cannot be read.
    """
    archive = Archive()
    # the kernel opens /dev/console for init before anything is mounted
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    for name in ("proc", "sys", "run", "etc", "newroot", "tmp"):
        archive.add(name, stat.S_IFDIR | 0o755)
    archive.add("bin/busybox", stat.S_IFREG | 0o755, busybox if busybox is not None else _busybox())
    for name in APPLETS:
        archive.add(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox")
    for script, place in zip(DATA, ("init", "udhcpc.sh"), strict=True):
        archive.add(place, stat.S_IFREG | 0o755, template(script).read_bytes())
    archive.add("volume-id", stat.S_IFREG | 0o644, volume_id.encode() + b"\n")
    _add_modules(archive, read, kernel)
    return gzip.compress(archive.finish(), compresslevel=LEVEL, mtime=0)


def sums(images: Mapping[str, str]) -> bytes:
    """Return the archive that follows the initramfs (the kernel unpacks one after the other): the sha256 of
    what may be fetched, by name.
    """
    archive = Archive()
    archive.add(
        "sums",
        stat.S_IFREG | 0o644,
        "".join(f"{digest}  {name}\n" for name, digest in sorted(images.items())).encode(),
    )
    return gzip.compress(archive.finish(), compresslevel=LEVEL, mtime=0)


def static_busybox(read: Callable[[str], bytes | None], arch: str) -> bytes:
    """Return a static busybox for an architecture: this machine's, or the tree's where that does not run
    there. Raises BuildError, MissingToolError.
    """
    if arch == builder_architecture():
        return _busybox()
    busybox = oci.busybox_of(arch, read("usr/bin/busybox"))
    if busybox is None:
        raise BuildError(
            f"the installer's initramfs needs a static busybox for {arch}, which this machine does not have,"
            " and the tree neither",
            hint="add busybox-static (Debian) to the tree, or build on a machine of its architecture",
        )
    return busybox.program


def _busybox() -> bytes:
    program = command.require("busybox").read_bytes()
    # a program with an interpreter (ELF, PT_INTERP) would need libraries
    if b"/ld-linux" in program:
        raise BuildError(
            "this machine's busybox is not static",
            hint="apt-get install busybox-static, or dnf install busybox",
        )
    return program


def _add_modules(archive: Archive, read: Callable[[str], bytes | None], kernel: str) -> None:
    directory = f"usr/lib/modules/{kernel}"
    dependencies = _text(read, f"{directory}/modules.dep")
    needed = closure(dependencies, MODULES)
    lines = []
    for path in needed:
        content = read(f"{directory}/{path}") if ".." not in path.split("/") else None
        if content is None:
            raise BuildError(
                f"the tree's modules.dep names {path}, which is not there", hint="run depmod in the compose"
            )
        archive.add(
            f"lib/modules/{kernel}/{SUFFIX.sub('.ko', path)}", stat.S_IFREG | 0o644, _unpacked(path, content)
        )
        dependencies = " ".join(SUFFIX.sub(".ko", dependency) for dependency in needed[path])
        lines.append(f"{SUFFIX.sub('.ko', path)}: {dependencies}".rstrip())
    names = {module_name(path) for path in needed}
    aliases = [
        line
        for line in _text(read, f"{directory}/modules.alias").splitlines()
        if line.split()[-1:] and line.split()[-1] in names
    ]
    for name, text in (("modules.dep", lines), ("modules.alias", aliases), ("modules.symbols", [])):
        archive.add(
            f"lib/modules/{kernel}/{name}",
            stat.S_IFREG | 0o644,
            "".join(f"{line}\n" for line in text).encode(),
        )


def closure(dependencies: str, wanted: Iterable[str]) -> dict[str, list[str]]:
    """Return path -> paths it needs, of the modules with these names and of all that they need; those that
    are built in are not there.
    """
    table = {
        path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())
    }
    by_name = {module_name(path): path for path in table}
    todo = [by_name[name] for name in (each.replace("-", "_") for each in wanted) if name in by_name]
    found: dict[str, list[str]] = {}
    while todo:
        path = todo.pop()
        if path not in found:
            found[path] = table.get(path, [])
            todo += found[path]
    return dict(sorted(found.items()))


def module_name(path: str) -> str:
    """Return a module's name: kernel/drivers/usb/storage/usb-storage.ko.xz is usb_storage."""
    return SUFFIX.sub("", path.rpartition("/")[2]).replace("-", "_")


def _text(read: Callable[[str], bytes | None], path: str) -> str:
    data = read(path)
    if data is None:
        raise BuildError(
            f"the tree has no /{path}: its modules cannot be loaded", hint="run depmod in the compose"
        )
    return data.decode("utf-8", "replace")


def _unpacked(path: str, content: bytes) -> bytes:
    """Busybox loads plain modules; the whole archive is compressed anyway. Raises BuildError for a module
    that cannot be unpacked.
    """
    suffix = path.rpartition(".")[2]
    if suffix not in UNPACK:
        return content
    try:
        module = UNPACK[suffix](content)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, command.CommandError) as error:
        raise BuildError(
            f"the tree's module {path} cannot be unpacked: {error}",
            hint="correct the compose: the kernel's package is damaged",
        ) from error
    if not module:
        raise BuildError(
            f"the tree's module {path} cannot be unpacked: it is empty",
            hint="correct the compose: the kernel's package is damaged",
        )
    return module


def _unzstd(content: bytes) -> bytes:
    with temporary.file("content") as file, file.open("w+b") as stream:
        command.run(["zstd", "--decompress", "--stdout", "--quiet"], stdin=content, stdout=stream, quiet=True)
        stream.seek(0)
        return stream.read()


UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "xz": lzma.decompress,
    "gz": gzip.decompress,
    "zst": _unzstd,
}
