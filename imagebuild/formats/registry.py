"""The table of formats: a new one is a module and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.config.images import FormatsConfig
from imagebuild.formats import Source, Unpacked, compressed, qcow2, vagrant_libvirt, vagrant_virtualbox, vmdk


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a download is written (disk, directory, name, options) and unpacked (file, directory), what that
    runs, on how many cores, and which files of templates/ it reads.
    """

    write: Callable[[Source, Path, str, Any], Path]
    unpack: Callable[[Path, Path], Unpacked]
    tools: tuple[str, ...]
    cores: int = 2
    reads: tuple[str, ...] = ()


# qemu-img writes vmdk with one thread
FORMATS = {
    "qcow2": Format(write=qcow2.write, unpack=qcow2.unpack, tools=("qemu-img",)),
    "raw.xz": Format(write=compressed.write_xz, unpack=compressed.unpack_xz, tools=("xz",)),
    "raw.zst": Format(write=compressed.write_zst, unpack=compressed.unpack_zst, tools=("zstd",)),
    "vmdk": Format(
        write=lambda source, out, name, _: vmdk.write(source, out, name),
        unpack=vmdk.unpack,
        tools=("qemu-img",),
        cores=1,
    ),
    "vagrant-libvirt": Format(
        write=vagrant_libvirt.write,
        unpack=vagrant_libvirt.unpack,
        tools=("qemu-img",),
        reads=vagrant_libvirt.READS,
    ),
    "vagrant-virtualbox": Format(
        write=lambda source, out, name, _: vagrant_virtualbox.write(source, out, name),
        unpack=vagrant_virtualbox.unpack,
        tools=("qemu-img",),
        cores=1,
        reads=vagrant_virtualbox.READS,
    ),
}


def wanted(formats: FormatsConfig) -> dict[str, Any]:
    """Return format -> its options, for the formats that a configuration asks for."""
    found = {name: getattr(formats, name.replace(".", "_").replace("-", "_")) for name in FORMATS}
    return {name: options for name, options in found.items() if options is not None}
