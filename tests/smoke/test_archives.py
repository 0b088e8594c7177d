"""Archives with a disk in them: boxes, OVA, clouds' tar archives, opened as their own programs do."""

import zipfile
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Controller
from imagebuild.smoke.any_image import recognise
from tests.smoke.images import METADATA, OVF, OVF_1, OVF_2, box_of, disk, opens, ova, run

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
    assert recognise(tmp_path / "image.tar.gz") == "gce"
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
