"""Any image file: known by its content, refused when it reads from elsewhere; and the two commands about
one.
"""

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imagebuild.cli.main import app
from imagebuild.errors import BuildError, UsageError
from imagebuild.formats import layers
from imagebuild.formats.format import Unpacked
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.any_image import opened, recognise
from imagebuild.smoke.criteria import registry as criteria
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


def test_images_are_known_by_their_content(tmp_path: Path) -> None:
    assert recognise(raw(tmp_path)) == "raw"
    assert recognise(converted(tmp_path, "qcow2")) == "qcow2"
    assert recognise(converted(tmp_path, "vmdk", "-o", "subformat=streamOptimized")) == "vmdk"
    for program, name in (("xz", "raw.xz"), ("zstd", "raw.zst")):
        with (tmp_path / name).open("wb") as stream:
            subprocess.run([program, "--stdout", "-q", raw(tmp_path)], check=True, stdout=stream)
        assert recognise(tmp_path / name) == name
    for name, members in (
        ("vagrant-libvirt", ["metadata.json", "box.img"]),
        ("vagrant-virtualbox", ["./box.ovf", "./metadata.json"]),
    ):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            for member in members:
                tar.addfile(tarfile.TarInfo(member))
        assert recognise(tmp_path / name) == name
    iso = tmp_path / "x.iso"
    iso.write_bytes(b"\0" * 32769 + b"CD001" + b"\0" * 2048)
    assert recognise(iso) == "iso"


# --- what others publish ------------------------------------------------------------------------------------


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


PACK = {"xz": ["xz", "-q"], "zst": ["zstd", "-q", "--rm"], "gz": ["gzip"], "bz2": ["bzip2"]}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk", "vpc"])
def test_a_disk_is_known_inside_of_what_it_is_compressed_with(tmp_path: Path, form: str, packed: str) -> None:
    """Fedora CoreOS has .qcow2.xz, .raw.gz, .vmdk.xz and .vhd.xz, CentOS .qcow2.xz, others .qcow2.zst and
    .qcow2.bz2.
    """
    file = disk(tmp_path, form, "image")
    run(*PACK[packed], file)
    misnamed = (tmp_path / f"image.{packed}").rename(tmp_path / "image.img")
    assert recognise(misnamed) == f"{form}.{packed}"
    assert opens(misnamed, tmp_path).format == form


def test_compressors_have_more_than_one_first_word(tmp_path: Path) -> None:
    """zstd 1.5, contrib/pzstd and doc/zstd_compression_format.md (skippable frames); lz4 1.9,
    doc/lz4_Frame_format.md (legacy frame: `lz4 -l`).
    """
    disk(tmp_path, "qcow2", "d.img")
    run(
        "sh", "-ec", "(printf '\\120\\052\\115\\030\\004\\0\\0\\0size'; zstd -qc d.img) > x.img", cwd=tmp_path
    )
    assert opens(tmp_path / "x.img", tmp_path).format == "qcow2"
    assert layers.kind_of(b"\x02\x21\x4c\x18".ljust(1 << 16, b"\1")) == "lz4"


def test_what_is_compressed_twice_is_unpacked_twice(tmp_path: Path) -> None:
    file = disk(tmp_path, "qcow2", "image")
    run("xz", "-q", file)
    run("gzip", tmp_path / "image.xz")
    assert recognise(tmp_path / "image.xz.gz") == "qcow2.xz.gz"
    assert opens(tmp_path / "image.xz.gz", tmp_path).format == "qcow2"


@pytest.mark.parametrize(
    ("form", "controller"),
    [
        ("qcow2", Controller.VIRTIO),
        ("vmdk", Controller.PVSCSI),
        ("vpc", Controller.IDE),
        ("vhdx", Controller.IDE),
        ("vdi", Controller.IDE),
    ],
)
def test_a_disk_is_on_the_controller_that_its_users_have(
    tmp_path: Path, form: str, controller: Controller
) -> None:
    unpacked = opens(disk(tmp_path, form, "image"), tmp_path)
    assert (unpacked.format, unpacked.controller) == (form, controller)


def test_a_fixed_vhd_is_no_raw_disk(tmp_path: Path) -> None:
    source = raw(tmp_path)
    run(
        "qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed,force_size", source, tmp_path / "fixed.vhd"
    )
    with opened(tmp_path / "fixed.vhd", tmp_path, Firmware.UEFI, TCG) as (unpacked, _):
        assert unpacked.format == "vpc"


METADATA = '{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'
TWO_DISKS = '{"provider": "libvirt", "disks": [{"path": "box.img"}, {"path": "disk2.qcow2", "name": "data"}]}'
# each packs the directory's files as the named program does; {0} is the box
BOXES = {
    # tools/create_box.sh of vagrant-libvirt 0.12
    "create_box.sh": (METADATA, "tar c -S --totals ./metadata.json ./Vagrantfile ./box.img | gzip -c > {0}"),
    # action/general/package.rb of vagrant 2.4: bsdtar -czf, which writes pax headers
    "vagrant package": (METADATA, "tar --format=posix -czf {0} ./*"),
    "vagrant package --include": (
        METADATA,
        (
            "mkdir include; cp Vagrantfile include/_Vagrantfile; ln -s Vagrantfile include/link; tar"
            " --format=posix -czf {0} ./*"
        ),
    ),
    "packer": (METADATA, "tar czf {0} metadata.json Vagrantfile box.img"),
    "directories": (METADATA, "tar czf {0} ."),
    "not compressed": (METADATA, "tar cf {0} metadata.json Vagrantfile box.img"),
    "xz": (METADATA, "tar cJf {0} ./metadata.json ./box.img"),
    "zstd": (METADATA, "tar c ./metadata.json ./box.img | zstd -q > {0}"),
    "metadata at the end": (METADATA, "tar czf {0} box.img Vagrantfile metadata.json"),
    "format 2": (TWO_DISKS, "cp box.img disk2.qcow2; tar czf {0} ./*"),
    "format 2, one disk in a directory": (
        '{"provider": "libvirt", "disks": [{"path": "./disks/a.img"}]}',
        "mkdir disks; mv box.img disks/a.img; tar czf {0} ./*",
    ),
}


def box_of(tmp_path: Path, metadata: str, how: str, form: str = "qcow2", file: str = "box.img") -> Path:
    place, box = tmp_path / "box", tmp_path / "a.box"
    disk(tmp_path, form, f"box/{file}")
    (place / "metadata.json").write_text(metadata)
    (place / "Vagrantfile").write_text('Vagrant.configure("2") do |config|\nend\n')
    run("sh", "-ec", how.format(box), cwd=place)
    return box


@pytest.mark.parametrize(("metadata", "how"), BOXES.values(), ids=list(BOXES))
def test_a_box_is_opened_as_vagrant_does(tmp_path: Path, metadata: str, how: str) -> None:
    file = box_of(tmp_path, metadata, how)
    assert recognise(file) == "vagrant-libvirt"
    unpacked = opens(file, tmp_path)
    assert (unpacked.format, unpacked.controller) == ("qcow2", Controller.VIRTIO)
    # format 2 takes disks as large as they are
    assert unpacked.size == (None if "disks" in metadata else 1 << 30)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ("no json", r"its metadata\.json cannot be read"),
        ("[" * 100000, r"its metadata\.json cannot be read"),
        ("[]", r"its metadata\.json is not an object"),
        ('{"provider": "libvirt"}', "does not say that box.img is qcow2"),
        ('{"provider": "libvirt", "format": "qcow2", "virtual_size": true}', "does not say"),
        ('{"provider": "libvirt", "format": "raw", "virtual_size": 1}', "does not say"),
        (
            '{"provider": "libvirt", "disks": [{"path": "none.img"}]}',
            r"its disk 'none\.img' is not in the box",
        ),
        ('{"provider": "libvirt", "disks": [{"path": "../box.img"}]}', "is not in the box"),
        ('{"provider": "libvirt", "disks": [{"path": "Vagrantfile"}]}', "is not a qcow2"),
        ('{"provider": "libvirt", "disks": ["box.img"]}', "is not a list of disks"),
        ('{"provider": "libvirt", "disks": [{}]}', "its disk '' is not in the box"),
    ],
)
def test_a_box_that_vagrant_would_refuse_is_refused(tmp_path: Path, metadata: str, problem: str) -> None:
    with pytest.raises(BuildError, match=problem):
        opens(box_of(tmp_path, metadata, "tar czf {0} ./*"), tmp_path)


def test_a_disk_larger_than_its_box_says_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "box"
    place.mkdir()
    run("qemu-img", "create", "-q", "-f", "qcow2", place / "box.img", "2G")
    (place / "metadata.json").write_text(METADATA)
    run("tar", "czf", tmp_path / "a.box", "./metadata.json", "./box.img", cwd=place)
    with pytest.raises(BuildError, match="larger than the 1 GiB"):
        opens(tmp_path / "a.box", tmp_path)


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


@pytest.mark.parametrize(
    ("number", "controller"), [("6", Controller.PVSCSI), ("5", Controller.IDE), ("20", Controller.IDE)]
)
@pytest.mark.parametrize("namespace", [OVF_1, OVF_2])
def test_an_ova_has_its_disk_where_its_description_says(
    tmp_path: Path, namespace: str, number: str, controller: Controller
) -> None:
    file = ova(tmp_path, OVF.format(namespace, "a%20disk.vmdk", number))
    assert recognise(file) == "ova"
    unpacked = opens(file, tmp_path)
    assert (unpacked.format, unpacked.controller) == ("vmdk", controller)


def test_an_ova_may_compress_its_disk(tmp_path: Path) -> None:
    file = ova(tmp_path, OVF.format(OVF_1, "d.vmdk.gz", "6"), disk_name="d.vmdk", more="gzip d.vmdk")
    assert opens(file, tmp_path).controller is Controller.PVSCSI


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "UTF-16", "UTF-8", "utf-8"])
def test_an_ovf_is_in_the_encoding_that_it_says(tmp_path: Path, encoding: str) -> None:
    text = OVF.format(OVF_1, "d.vmdk", "6").replace(
        '<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{encoding}"?><!-- Gerät -->'
    )
    file = ova(
        tmp_path, text, disk_name="d.vmdk", more=f"iconv -f UTF-8 -t {encoding} vm.ovf > x; mv x vm.ovf"
    )
    assert opens(file, tmp_path).controller is Controller.PVSCSI


@pytest.mark.parametrize("encoding", ["hex", "no-such", "idna", "UTF-16"])
def test_an_ovf_in_no_encoding_is_said(tmp_path: Path, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!-- Gerät -->'
    with pytest.raises(BuildError, match=r"the OVF of vm\.ova is not text"):
        opens(ova(tmp_path, text, disk_name="d.vmdk"), tmp_path)


# as VirtualBox exports OVF 2.0 (untangle's ngfw_isotools-stretch, ova/untangle.ovf.tpl): disks are
# StorageItems
@pytest.mark.parametrize(("number", "controller"), [("6", Controller.PVSCSI), ("20", Controller.IDE)])
def test_a_disk_may_be_a_storage_item(tmp_path: Path, number: str, controller: Controller) -> None:
    text = OVF.format(OVF_2, "d.vmdk", number)
    text = text.replace("<Item><rasd:InstanceID>9", "<StorageItem><rasd:InstanceID>9").replace(
        "17</rasd:ResourceType></Item>", "17</rasd:ResourceType></StorageItem>"
    )
    assert "<StorageItem>" in text
    assert "</StorageItem>" in text
    assert (
        opens(ova(tmp_path, text.replace("ovf:/disk/", "/disk/"), disk_name="d.vmdk"), tmp_path).controller
        is controller
    )


# Image Factory 1.1.16, imagefactory_plugins/ovfcommon/ovfcommon.py (RHEVOVFDescriptor, RHEVOVFPackage): what
# RHEL Atomic Host's *.rhevm.ova is
OVIRT = """<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" ovf:version="0.9">
<References><File ovf:href="img/vol" ovf:id="vol" ovf:size="1"/></References>
<Section xsi:type="ovf:DiskSection_Type"><Disk ovf:diskId="vol" ovf:size="1" ovf:parentRef="" ovf:fileRef="img/vol" ovf:volume-format="COW"{}/></Section>
<Content ovf:id="out" xsi:type="ovf:VirtualSystem_Type"><Section xsi:type="ovf:VirtualHardwareSection_Type"><Item><rasd:InstanceId>vol</rasd:InstanceId>
<rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>
img/vol</rasd:HostResource></Item></Section></Content></ovf:Envelope>
"""  # noqa: E501


@pytest.mark.parametrize(
    ("interface", "controller"),
    [
        (' ovf:disk-interface="VirtIO"', Controller.VIRTIO),
        (' ovf:disk-interface="IDE"', Controller.IDE),
        ("", Controller.IDE),
    ],
)
def test_the_disk_of_an_ovirt_domain_is_among_its_images(
    tmp_path: Path, interface: str, controller: Controller
) -> None:
    disk(tmp_path, "qcow2", "d/images/img/vol")
    (tmp_path / "d/images/img/vol.meta").write_text("DOMAIN=x\nEOF\n")
    (tmp_path / "d/master/vms/tpl").mkdir(parents=True)
    (tmp_path / "d/master/vms/tpl/tpl.ovf").write_text(OVIRT.format(interface))
    run("tar", "czf", tmp_path / "a.rhevm.ova", "master/vms/tpl/tpl.ovf", "images", cwd=tmp_path / "d")
    unpacked = opens(tmp_path / "a.rhevm.ova", tmp_path)
    assert (unpacked.format, unpacked.controller) == ("qcow2", controller)


def test_an_ovf_names_files_as_seen_from_its_own_directory(tmp_path: Path) -> None:
    disk(tmp_path, "vmdk", "d/appliance/disk1.vmdk")
    (tmp_path / "d/appliance/appliance.ovf").write_text(OVF.format(OVF_1, "disk1.vmdk", "6"))
    # and macOS' zip puts attributes beside everything
    (tmp_path / "d/__MACOSX/appliance").mkdir(parents=True)
    for attributes in (
        "__MACOSX/appliance/._appliance.ovf",
        "__MACOSX/appliance/._disk1.vmdk",
        "appliance/._appliance.ovf",
    ):
        (tmp_path / "d" / attributes).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted((tmp_path / "d").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "d"))
    assert opens(tmp_path / "x.zip", tmp_path).controller is Controller.PVSCSI


def test_a_xenservers_export_is_said(tmp_path: Path) -> None:
    """xen-api, ocaml/xapi/xva.ml (xml_filename): ova.xml, then the disks' pieces, of which the first looks
    like a disk.
    """
    disk(tmp_path, "raw", "d/Ref:4/00000000")
    (tmp_path / "d/ova.xml").write_text("<value/>")
    run("tar", "cf", tmp_path / "x.xva", "ova.xml", "Ref:4", cwd=tmp_path / "d")
    with pytest.raises(BuildError, match=r"x\.xva is a XenServer's XVA, whose disks are in pieces"):
        opens(tmp_path / "x.xva", tmp_path)


@pytest.mark.parametrize("metadata", ['{"provider": "virtualbox"}', None])
def test_a_box_of_virtualbox_has_its_disk_on_ide(tmp_path: Path, metadata: str | None) -> None:
    """Without metadata.json it is a box from before Vagrant 1.1."""
    place = tmp_path / "box"
    disk(tmp_path, "vmdk", "box/box-disk001.vmdk")
    (place / "box.ovf").write_text(OVF.format(OVF_1, "box-disk001.vmdk", "6"))
    if metadata is not None:
        (place / "metadata.json").write_text(metadata)
    run("sh", "-c", "tar czf ../a.box ./*", cwd=place)
    assert recognise(tmp_path / "a.box") == "vagrant-virtualbox"
    assert opens(tmp_path / "a.box", tmp_path).controller is Controller.IDE


def test_the_image_of_compute_engine_is_a_disk_in_an_archive(tmp_path: Path) -> None:
    """As its documentation has it written: tar --format=oldgnu -Sczf."""
    disk(tmp_path, "raw", "gce/disk.raw")
    run("tar", "--format=oldgnu", "-Sczf", tmp_path / "image.tar.gz", "disk.raw", cwd=tmp_path / "gce")
    assert recognise(tmp_path / "image.tar.gz") == "raw.tar.gz"
    unpacked = opens(tmp_path / "image.tar.gz", tmp_path)
    assert (unpacked.format, unpacked.disk.stat().st_size) == ("raw", 4 << 20)
    assert unpacked.disk.stat().st_blocks * 512 < 1 << 20, "its holes are holes"


@pytest.mark.parametrize("inner", ["qcow2", "qcow2.xz"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_with_one_image_is_that_image(tmp_path: Path, kind: str, inner: str) -> None:
    place = tmp_path / "a"
    disk(tmp_path, "qcow2", "a/image/disk.qcow2")
    (place / "README").write_text("read me")
    if inner == "qcow2.xz":
        run("xz", "-q", place / "image/disk.qcow2")
    if kind == "tar":
        run("tar", "cf", tmp_path / "x.img", ".", cwd=place)
    else:
        with zipfile.ZipFile(tmp_path / "x.img", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(place.rglob("*")):
                archive.write(path, path.relative_to(place))
    assert opens(tmp_path / "x.img", tmp_path).format == "qcow2"


def test_an_archive_with_two_images_says_which(tmp_path: Path) -> None:
    disk(tmp_path, "qcow2", "a/one.qcow2")
    disk(tmp_path, "raw", "a/two.raw")
    run("tar", "cf", tmp_path / "x.tar", "one.qcow2", "two.raw", cwd=tmp_path / "a")
    with pytest.raises(BuildError, match=r"more than one disk image: one\.qcow2, two\.raw"):
        opens(tmp_path / "x.tar", tmp_path)


# --- hostile ones -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("../../out", tarfile.REGTYPE, "leads out of the archive"),
        ("/tmp/out", tarfile.REGTYPE, "leads out of the archive"),
        ("a/../../out", tarfile.REGTYPE, "leads out of the archive"),
        ("..\\out", tarfile.REGTYPE, "leads out of the archive"),
        ("box.img", tarfile.SYMTYPE, "is not in the box"),
        ("box.img", tarfile.LNKTYPE, "is not in the box"),
        ("box.img", tarfile.FIFOTYPE, "is not in the box"),
        ("box.img", tarfile.CHRTYPE, "is not in the box"),
    ],
)
def test_a_hostile_archive_writes_nothing_elsewhere(
    tmp_path: Path, name: str, kind: bytes, said: str
) -> None:
    secret = tmp_path / "secret.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", secret, "1M")
    with tarfile.open(tmp_path / "x.box", "w:gz") as tar:
        for member, data in (("metadata.json", METADATA.encode()), (name, b"")):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            if member == name:
                info.type, info.linkname = kind, str(secret)
            tar.addfile(info, io.BytesIO(data))
    before = sorted(tmp_path.rglob("*"))
    work = tmp_path / "w" / "w"
    work.mkdir(parents=True)
    with pytest.raises(BuildError, match=said), opened(tmp_path / "x.box", work, Firmware.UEFI, TCG):
        pass
    assert [
        path
        for path in sorted(tmp_path.rglob("*"))
        if path not in before and not path.is_relative_to(tmp_path / "w")
    ] == []
    assert all(path.parent == work for path in work.rglob("*"))


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as stream:
        stream.write(raw(tmp_path).read_bytes())
        stream.truncate(64 << 20)
    run("xz", "-q", "-0", zeros)
    monkeypatch.setattr(layers, "LARGEST", 32 << 20)
    with pytest.raises(BuildError, match=r"zeros\.xz unpacks to more than"):
        opens(tmp_path / "zeros.xz", tmp_path)
    monkeypatch.setattr(layers, "LARGEST", 1 << 40)
    monkeypatch.setattr(layers, "RESERVE", 1 << 60)
    (tmp_path / "work-zeros.xz" / "unpacked-1").unlink()
    (tmp_path / "work-zeros.xz").rmdir()
    with pytest.raises(BuildError, match="there is no room for what"):
        opens(tmp_path / "zeros.xz", tmp_path)


def test_an_archive_says_a_size_that_no_disk_has(tmp_path: Path) -> None:
    info = tarfile.TarInfo("disk.raw")
    info.size = 1 << 50
    (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 10240)
    with pytest.raises(BuildError, match=r"its member disk\.raw has \d+ bytes"):
        opens(tmp_path / "x.tar", tmp_path)


def test_packed_for_ever_is_too_often(tmp_path: Path) -> None:
    file = raw(tmp_path)
    for number in range(6):
        run("gzip", "-S", f".{number}", file)
        file = Path(f"{file}.{number}")
    with pytest.raises(BuildError, match="is compressed more than 4 times"):
        recognise(file)
    inner = disk(tmp_path, "qcow2", "a/disk")
    for number in range(6):
        run("tar", "cf", tmp_path / f"{number}.tar", "-C", inner.parent, inner.name)
        inner = tmp_path / f"{number}.tar"
    with pytest.raises(BuildError, match="is an archive in more than 4 others"):
        opens(inner, tmp_path)


@pytest.mark.parametrize(
    "pack", [["xz", "-q"], ["zstd", "-q", "--rm"], ["gzip"], ["bzip2"]], ids=["xz", "zst", "gz", "bz2"]
)
def test_half_a_download_is_said(tmp_path: Path, pack: list[str]) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(bytes(510) + b"\x55\xaa" + os.urandom(1 << 20))
    run(*pack, file)
    (packed,) = tmp_path.glob("disk.img.*")
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(BuildError, match=r"is damaged|no disk image"):
        opens(packed, tmp_path)


def test_half_a_box_is_said(tmp_path: Path) -> None:
    file = box_of(tmp_path, METADATA, "tar cf {0} metadata.json box.img")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(BuildError, match="is not a usable archive"):
        opens(file, tmp_path)


def test_an_ovf_with_entities_is_refused(tmp_path: Path) -> None:
    text = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + OVF.format(OVF_1, "a%20disk.vmdk", "6")
    with pytest.raises(BuildError, match="its OVF has a document type"):
        opens(ova(tmp_path, text), tmp_path)


def test_a_vmdk_that_is_a_description_is_no_disk(tmp_path: Path) -> None:
    place = tmp_path / "ova"
    place.mkdir()
    (place / "d.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 2048 FLAT "{raw(tmp_path)}" 0\n'
    )
    (place / "vm.ovf").write_text(OVF.format(OVF_1, "d.vmdk", "6"))
    run("tar", "cf", tmp_path / "vm.ova", "vm.ovf", "d.vmdk", cwd=place)
    with pytest.raises(BuildError, match="not a disk image that is known here"):
        opens(tmp_path / "vm.ova", tmp_path)


def test_an_installer_in_a_compressor_is_an_installer(tmp_path: Path) -> None:
    iso = tmp_path / "x.iso"
    iso.write_bytes(bytes(32769) + b"CD001".ljust(4096, b"\0"))
    run("xz", "-q", iso)
    assert recognise(tmp_path / "x.iso.xz") == "iso.xz"


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="not a disk image that is known"):
        recognise(tmp_path / "text")
    with pytest.raises(UsageError, match="there is no file"):
        recognise(tmp_path / "nothing")


def test_an_image_that_reads_from_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = raw(tmp_path)
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", overlay], check=True
    )
    with pytest.raises(BuildError, match="it reads from"), opened(overlay, tmp_path, Firmware.UEFI, TCG):
        pass
    # a sparse vmdk's header with a description of a flat one
    flat = tmp_path / "flat.vmdk"
    text = (
        '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048'
        f' FLAT "{secret}" 0\n'
    )
    header = bytearray(512)
    header[0:8] = b"KDMV\x01\x00\x00\x00"
    header[28:36] = (1).to_bytes(8, "little")
    header[36:44] = (20).to_bytes(8, "little")
    flat.write_bytes(bytes(header) + text.encode().ljust(10240, b"\0"))
    with pytest.raises(BuildError), opened(flat, tmp_path, Firmware.UEFI, TCG):
        pass


def test_a_whole_image_is_opened_as_it_is(tmp_path: Path) -> None:
    for file in (
        raw(tmp_path),
        converted(tmp_path, "qcow2"),
        converted(tmp_path, "vmdk", "-o", "subformat=streamOptimized"),
    ):
        with opened(file, tmp_path, Firmware.UEFI, TCG) as (unpacked, installed):
            assert (unpacked.disk, installed) == (file, False)


def test_an_unknown_criterion_lists_the_known_ones(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            "test",
            str(raw(tmp_path)),
            "--ref",
            "debian/12/x86_64/atomic-host",
            "--criteria",
            "x",
            "--store",
            str(tmp_path),
        ],
    )
    assert isinstance(done.exception, UsageError)
    assert "there is no criterion x" in done.exception.message
    assert "containers-run" in done.exception.hint


@pytest.mark.parametrize("name", criteria.required(atomic=True, installer=True))
def test_every_name_that_a_verdict_has_can_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class BegunError(Exception):
        pass

    def begin(*_: object) -> None:
        raise BegunError

    monkeypatch.setattr("imagebuild.tools.accelerator.probe", begin)
    where = [
        "--ref",
        "debian/12/x86_64/atomic-host",
        "--criteria",
        f"containers-run,{name}",
        "--store",
        str(tmp_path),
    ]
    iso = tmp_path / "x.iso"
    iso.write_bytes(bytes(32769) + b"CD001".ljust(4096, b"\0"))
    assert isinstance(CliRunner().invoke(app, ["test", str(iso), *where]).exception, BegunError)
    refused = CliRunner().invoke(app, ["test", str(raw(tmp_path)), *where]).exception
    if name == criteria.INSTALLS:
        assert isinstance(refused, UsageError)
        assert (
            refused.message
            == "installer-media-boots-and-installs is asked of installer ISOs only, and disk.img is raw"
        )
    else:
        assert isinstance(refused, BegunError)
