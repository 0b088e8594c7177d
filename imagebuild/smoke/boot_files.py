"""What a boot loader finds on an ext4 /boot: entries, and the kernels and initramfs that they name.

It is read as GRUB reads it, which does not replay a journal (GRUB 2.06, grub-core/fs/ext2.c): what is only in
the journal is not there yet for it. libostree knows, and freezes /boot once to have it written out
(ostree-sysroot-deploy.c, fsfreeze_thaw_cycle).
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from imagebuild.deploy.disk_map import read_map
from imagebuild.errors import BuildError
from imagebuild.tools import ext4

NO_ENTRY = "the boot loader has no entry"
# where /boot may be on its file system, and on one that holds / too
PREFIXES = ("", "/boot")
# the Boot Loader Specification (uapi-group.org), type 1: one word, then its value
BLS_LINE = re.compile(r"^(\w[\w-]*)[ \t]+(.*?)[ \t]*$", re.MULTILINE)
MENU_LINE = re.compile(r"^\s*(linux|initrd)(?:16|efi)?\s+(\S+)(.*)$", re.MULTILINE)
# ostree-sysroot-deploy.c, get_kernel_from_tree_usrlib_modules: the sum is that of kernel and initramfs, one
# after the other
SUMMED = re.compile(r"/ostree/[^/]+-([0-9a-f]{64})/[^/]+")


@dataclass(frozen=True, kw_only=True)
class BootEntry:
    """One entry of the boot loader: its kernel and initramfs (paths there), and its arguments."""

    name: str
    linux: str
    initrd: str
    options: str

    @property
    def ostree(self) -> str:
        """The link below / that leads to the deployment; empty when the entry has none."""
        return next((word[7:] for word in self.options.split() if word.startswith("ostree=")), "")


@dataclass(frozen=True)
class BootFiles:
    """A file system with /boot, of so many bytes at an offset of a disk."""

    disk: Path
    start: int
    size: int
    prefix: str

    @property
    def end(self) -> int:
        """Where on the disk it ends."""
        return self.start + self.size

    def entries(self) -> list[BootEntry]:
        """Return the entries, the one first that a boot starts by itself: those of the generated menu where
        there is one, otherwise the Boot Loader Specification's.
        """
        if "grub.cfg" in self._list("/loader/."):
            menu = self._read("/loader/grub.cfg")
            # one that reads the entries itself (Fedora's and GRUB 2.14's module) is no more than that
            if "blscfg" not in menu:
                return _menu_entries(menu)
        names = [name for name in self._list("/loader/entries") if name.endswith(".conf")]
        found = [(name, dict(BLS_LINE.findall(self._read(f"/loader/entries/{name}")))) for name in names]
        found.sort(key=lambda pair: (_number(pair[1].get("version", "")), pair[0]), reverse=True)
        return [
            BootEntry(
                name=name,
                linux=values.get("linux", ""),
                initrd=values.get("initrd", ""),
                options=values.get("options", ""),
            )
            for name, values in found
        ]

    def problem(self) -> str | None:
        """Return why a boot that nobody touches would not get a kernel from here; None when it would."""
        try:
            entries = self.entries()
            if not entries:
                return NO_ENTRY
            return self.entry_problem(entries[0])
        except BuildError as error:
            return error.message

    def entry_problem(self, entry: BootEntry) -> str | None:
        """Return what is wrong with an entry's kernel or initramfs; None for nothing."""
        kernel, initrd = self._bytes(entry.linux), self._bytes(entry.initrd)
        for what, path, content in (("kernel", entry.linux, kernel), ("initramfs", entry.initrd, initrd)):
            if not content:
                return f"the {what} of {entry.name} is not there: {path or '(none named)'}"
        summed = SUMMED.search(entry.linux)
        if summed and hashlib.sha256(kernel + initrd).hexdigest() != summed.group(1):
            return f"kernel and initramfs of {entry.name} are not what their checksum says: {entry.linux}"
        return None

    def _list(self, path: str) -> list[str]:
        return ext4.list_directory(self.disk, self.prefix + path, self.start)

    def _bytes(self, path: str) -> bytes:
        path = path if path.startswith(self.prefix + "/") or not path else self.prefix + path
        return ext4.read_file(self.disk, path, self.start) if path else b""

    def _read(self, path: str) -> str:
        return self._bytes(path).decode("utf-8", "replace")


def find_boot_files(disk: Path) -> BootFiles | None:
    """Return where a raw disk has /boot; None when it is on no ext4 file system. Raises BuildError when the
    disk has no partition table.
    """
    for area in read_map(disk):
        for prefix in PREFIXES if area.content == "ext4" else ():
            names = ext4.list_directory(disk, prefix or "/", area.start)
            if "loader" in names or any(name.startswith("loader.") for name in names):
                return BootFiles(disk, area.start, area.size, prefix)
    return None


def _menu_entries(menu: str) -> list[BootEntry]:
    found: list[BootEntry] = []
    for title, body in re.findall(
        r"^\s*menuentry '([^'\n]*)'.*?\{\n(.*?)^\s*\}", menu, re.MULTILINE | re.DOTALL
    ):
        lines = {verb: (path, rest) for verb, path, rest in MENU_LINE.findall(body)}
        linux, initrd = lines.get("linux", ("", "")), lines.get("initrd", ("", ""))
        found.append(BootEntry(name=title, linux=linux[0], initrd=initrd[0], options=linux[1].strip()))
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1
