"""Images as others publish them, each with a disk that is known again."""

import subprocess
from pathlib import Path

from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Firmware
from imagebuild.smoke.any_image import opened
from imagebuild.tools.accelerator import Accelerator

TCG = Accelerator(name="tcg", slowness=1, reason="")


def raw(tmp_path: Path) -> Path:
    file = tmp_path / "disk.img"
    data = bytearray(1 << 20)
    data[510:512] = b"\x55\xaa"
    file.write_bytes(data)
    return file


def converted(tmp_path: Path, form: str, *more: str) -> Path:
    file = tmp_path / f"disk.{form}"
    subprocess.run(["qemu-img", "convert", "-O", form, *more, raw(tmp_path), file], check=True)
    return file


def run(*argv: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(argv, check=True, cwd=cwd, capture_output=True)


def disk(tmp_path: Path, form: str, name: str) -> Path:
    """Make a disk as qemu-img writes it, with something at its start that tells it from others."""
    where = tmp_path / name
    where.parent.mkdir(parents=True, exist_ok=True)
    source = tmp_path / "source.raw"
    source.write_bytes((b"boot code".ljust(510, b".") + b"\x55\xaa").ljust(4 << 20, b"\0"))
    more = {"vmdk": ["-o", "subformat=streamOptimized"], "vpc": ["-o", "subformat=dynamic,force_size"]}.get(
        form, []
    )
    run("qemu-img", "convert", "-O", form, *more, source, where)
    source.unlink()
    return where


def content(unpacked: Unpacked, tmp_path: Path) -> bytes:
    out = tmp_path / "content.raw"
    run("qemu-img", "convert", "-f", unpacked.format, "-O", "raw", unpacked.disk, out)
    return out.read_bytes()[:9]


def opens(file: Path, tmp_path: Path) -> Unpacked:
    """Open an image and see that its disk is the one that was put in."""
    work = tmp_path / f"work-{file.name}"
    work.mkdir()
    with opened(file, work, Firmware.UEFI, TCG) as (unpacked, installed):
        assert not installed
        assert content(unpacked, tmp_path) == b"boot code"
        return unpacked


METADATA = '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'


def box_of(tmp_path: Path, metadata: str, how: str, form: str = "qcow2", file: str = "box.img") -> Path:
    place, box = tmp_path / "box", tmp_path / "a.box"
    disk(tmp_path, form, f"box/{file}")
    (place / "metadata.json").write_text(metadata)
    (place / "Vagrantfile").write_text('Vagrant.configure("2") do |config|\nend\n')
    run("sh", "-ec", how.format(box), cwd=place)
    return box


OVF = """<?xml version="1.0"?>
<Envelope xmlns="{0}" xmlns:ovf="{0}" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
<References><File ovf:id="iso" ovf:href="tools.iso"/><File ovf:id="file1" ovf:href="{1}"/></References>
<DiskSection><Disk ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:capacity="1"/></DiskSection>
<VirtualSystem><VirtualHardwareSection>
<Item><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>{2}</rasd:ResourceType></Item>
<Item><rasd:InstanceID>9</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
<rasd:ResourceType>17</rasd:ResourceType></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>
"""
OVF_1, OVF_2 = "http://schemas.dmtf.org/ovf/envelope/1", "http://schemas.dmtf.org/ovf/envelope/2"


def ova(tmp_path: Path, description: str, *, disk_name: str = "a disk.vmdk", more: str = "") -> Path:
    """Write an OVA as ovftool does (DSP0243, 5.3): ustar, the description first, then the manifest, then the
    files in their order.
    """
    place = tmp_path / "ova"
    disk(tmp_path, "vmdk", f"ova/{disk_name}")
    (place / "vm.ovf").write_text(description)
    (place / "vm.mf").write_text("SHA256(vm.ovf)= 0\n")
    run("sh", "-ec", f"{more or 'true'}; tar --format=ustar -cf ../vm.ova vm.ovf vm.mf *.vmdk*", cwd=place)
    return tmp_path / "vm.ova"
