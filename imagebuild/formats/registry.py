"""Every format that a disk can be written as: a new one is a module and a line here."""

from imagebuild.formats import (
    compressed,
    container_disk,
    gce,
    ova,
    qcow2,
    raw_4k,
    vagrant_libvirt,
    vagrant_virtualbox,
    vhd,
    vhdx,
    vmdk,
)
from imagebuild.formats.format import FileKind, Format
from imagebuild.formats.iso import ISO
from imagebuild.records import Registry

# in the order of a page
FORMATS: Registry[Format] = Registry(
    "format",
    qcow2.FORMAT,
    compressed.XZ,
    compressed.ZST,
    raw_4k.FORMAT,
    vmdk.FORMAT,
    ova.FORMAT,
    vhd.FORMAT,
    vhd.XZ,
    vhdx.FORMAT,
    gce.FORMAT,
    container_disk.FORMAT,
    vagrant_libvirt.FORMAT,
    vagrant_virtualbox.FORMAT,
)
# whatever can be downloaded of a release
FILE_KINDS: Registry[FileKind] = Registry("kind of file", ISO, *FORMATS.values())
