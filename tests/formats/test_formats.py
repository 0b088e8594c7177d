"""The downloads, made from a small disk by the real programs: their contents, their contracts, and the same
bytes each time.
"""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from lxml import etree
from typer.testing import CliRunner

from imagebuild.cli.main import app
from imagebuild.deploy.compare import ComparisonError, compare
from imagebuild.errors import BuildError, MissingToolError
from imagebuild.formats import box, compressed, vagrant_libvirt, vagrant_virtualbox, vmdk
from imagebuild.formats.compressed import XzConfig, ZstdConfig
from imagebuild.formats.format import Source
from imagebuild.formats.gce import GceConfig
from imagebuild.formats.qcow2 import Qcow2Config
from imagebuild.formats.registry import FORMATS
from imagebuild.kinds import Controller
from imagebuild.tools import command
from imagebuild.tools.qemu import disk_image
from tests.formats.schema import schema
from tests.golden import check_golden

MIB = 1 << 20
OPTIONS = {
    "qcow2": Qcow2Config(compat="0.10"),
    "raw.xz": XzConfig(level=0),
    "raw.zst": ZstdConfig(level=1),
    "vhd.xz": XzConfig(level=0),
    "gce": GceConfig(level=1),
    "vagrant-libvirt": Qcow2Config(compression="zstd"),
}


def written(source: Source, kind: str, place: Path) -> Path:
    place.mkdir()
    return FORMATS[kind].write(source, place, "Test-1", OPTIONS.get(kind, FORMATS[kind].options()))


# the other is made of disks of its own (test_raw_4k.py)
@pytest.mark.parametrize("kind", [name for name, record in FORMATS.items() if record.sector_size == 512])
def test_a_download_holds_the_disk_and_is_the_same_each_time(
    source: Source, tmp_path: Path, kind: str
) -> None:
    one, other = (written(source, kind, tmp_path / name) for name in ("one", "two"))
    assert one.name == f"Test-1.{FORMATS[kind].suffix}"
    assert one.read_bytes() == other.read_bytes(), "two runs differ"
    (tmp_path / "unpacked").mkdir()
    unpacked = FORMATS[kind].unpack(one, tmp_path / "unpacked")
    # one that is larger ends in zeros
    same, said = disk_image.compare(unpacked.disk, unpacked.format, source.disk.file, "raw")
    assert same, said
    assert not [file for file in one.parent.iterdir() if file != one], (
        "something was left beside the download"
    )


def test_what_an_older_content_id_left_is_not_in_a_vmdk(source: Source, tmp_path: Path) -> None:
    clean = written(source, "vmdk", tmp_path / "one")
    left = tmp_path / "left.vmdk"
    data = bytearray(clean.read_bytes())
    end = data.index(b"\0", 512)
    # as qemu-img leaves it when its second content id is a digit shorter than the first
    data[end + 1 : end + 2] = b"\n"
    left.write_bytes(data)
    vmdk.set_content_id(left, source.seed[:8])
    assert left.read_bytes() == clean.read_bytes()


def test_decompressed_zeros_are_holes(source: Source, tmp_path: Path) -> None:
    file = written(source, "raw.xz", tmp_path / "out")
    (tmp_path / "unpacked").mkdir()
    disk = compressed.unpack_xz(file, tmp_path / "unpacked").disk
    assert disk.stat().st_blocks * 512 < 16 * MIB
    assert disk.stat().st_size == 64 * MIB


def test_a_download_that_is_cut_short_is_an_error(source: Source, tmp_path: Path) -> None:
    file = written(source, "raw.zst", tmp_path / "out")
    file.write_bytes(file.read_bytes()[:-100])
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(BuildError, match="is damaged: zst said"):
        compressed.unpack_zst(file, tmp_path / "unpacked")


def test_an_old_qcow2_and_a_stream_optimized_vmdk(source: Source, tmp_path: Path) -> None:
    qcow2 = disk_image.info(written(source, "qcow2", tmp_path / "q"))["format-specific"]["data"]
    assert qcow2["compat"] == "0.10"
    found = disk_image.info(written(source, "vmdk", tmp_path / "v"))["format-specific"]["data"]
    assert found["create-type"] == "streamOptimized"
    assert found["cid"] == 0xABCDEF01
    (tmp_path / "none").write_bytes(b"nothing" * 1000)
    with pytest.raises(BuildError, match="no descriptor with a CID"):
        vmdk.set_content_id(tmp_path / "none", "abcdef01")


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        found = {}
        for member in tar.getmembers():
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (
                0,
                0,
                "",
                "",
                1_600_000_000,
            )
            stream = tar.extractfile(member)
            assert stream is not None
            found[member.name] = stream.read()
        return found


def test_the_libvirt_box_point_by_point(
    source: Source, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = written(source, "vagrant-libvirt", tmp_path / "out")
    assert file.read_bytes()[:2] == b"\x1f\x8b"
    found = members(file)
    assert set(found) == {"metadata.json", "Vagrantfile", "box.img"}
    assert json.loads(found["metadata.json"]) == {"provider": "libvirt", "format": "qcow2", "virtual_size": 1}
    assert found["box.img"][:4] == b"QFI\xfb"
    check_golden(request, "libvirt.Vagrantfile", found["Vagrantfile"].decode())


def test_the_virtualbox_box_point_by_point(
    source: Source, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = written(source, "vagrant-virtualbox", tmp_path / "out")
    assert file.read_bytes()[257:262] == b"ustar", "a VirtualBox box is a plain tar"
    found = members(file)
    assert next(iter(found)) == "box.ovf", "box.ovf must be the first member"
    assert set(found) == {"box.ovf", "metadata.json", "Vagrantfile", "box-disk1.vmdk"}
    assert json.loads(found["metadata.json"]) == {"provider": "virtualbox"}
    assert found["box-disk1.vmdk"][:4] == b"KDMV"
    check_golden(request, "virtualbox.Vagrantfile", found["Vagrantfile"].decode())
    check_golden(
        request, "box.ovf", found["box.ovf"].decode().replace(str(len(found["box-disk1.vmdk"])), "SIZE")
    )
    names = {
        "e": "http://schemas.dmtf.org/ovf/envelope/1",
        "r": "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData",
    }
    root = etree.fromstring(found["box.ovf"])
    schema().assertValid(root)

    def one(path: str) -> str:
        found = root.xpath(path, namespaces=names)
        assert isinstance(found, list)
        assert len(found) == 1, path
        return str(found[0])

    assert one("//e:File/@e:href") == "box-disk1.vmdk"
    assert one("//e:File/@e:size") == str(len(found["box-disk1.vmdk"]))
    assert one("//e:Disk/@e:capacity") == str(64 * MIB)
    assert one("//e:Disk/@e:fileRef") == one("//e:File/@e:id")
    assert one("//e:Disk/@e:format").endswith("#streamOptimized")
    disk = "//e:Item[r:ResourceType=17]"
    assert one(f"{disk}/r:HostResource/text()") == f"/disk/{one('//e:Disk/@e:diskId')}"
    parent = one(f"{disk}/r:Parent/text()")
    assert one(f"//e:Item[r:InstanceID={parent}]/r:ResourceType/text()") == "5", (
        "the disk's parent is an IDE controller"
    )
    assert one(f"//e:Item[r:InstanceID={parent}]/r:ResourceSubType/text()") == "PIIX4"
    assert "Test <Host> & co" in one("//e:VirtualSystem/e:Info/text()")
    assert vagrant_virtualbox.unpack(file, tmp_path / "out").controller is Controller.IDE


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("../metadata.json", tarfile.REGTYPE, "is not a plain file of the box"),
        ("/etc/passwd", tarfile.REGTYPE, "is not a plain file of the box"),
        ("link", tarfile.SYMTYPE, "is not a plain file of the box"),
        ("box.img", tarfile.REGTYPE, "has no metadata.json"),
    ],
)
def test_a_hostile_box_is_refused(tmp_path: Path, name: str, kind: bytes, said: str) -> None:
    file = tmp_path / "x.box"
    with tarfile.open(file, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info, io.BytesIO())
    (tmp_path / "out").mkdir()
    with pytest.raises(BuildError, match=said):
        box.unpack(file, tmp_path / "out", "libvirt")
    assert not list((tmp_path / "out").glob("*")) or name == "box.img"


def test_a_box_image_that_reads_from_elsewhere_is_refused(source: Source, tmp_path: Path) -> None:
    disk_image.make_overlay(tmp_path / "box.img", source.disk.file, "raw")
    metadata = b'{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}'
    with (tmp_path / "x.box").open("wb") as stream:
        box.write_archive(stream, {"metadata.json": metadata, "box.img": tmp_path / "box.img"}, 0)
    (tmp_path / "out").mkdir()
    with pytest.raises(BuildError, match="reads from"):
        vagrant_libvirt.unpack(tmp_path / "x.box", tmp_path / "out")


def test_compare_names_partition_file_and_inode(tmp_path: Path) -> None:
    tree, images = tmp_path / "tree", []
    (tree / "etc").mkdir(parents=True)
    for name, text in (("one", "same\n"), ("two", "else\n")):
        (tree / "etc" / "motd").write_text(text)
        os.utime(tree / "etc" / "motd", (0, 0))
        file = tmp_path / f"{name}.raw"
        with file.open("wb") as disk:
            disk.truncate(64 * MIB)
        command.run(
            ["sfdisk", "--quiet", file],
            stdin=(
                b"label: gpt\nlabel-id: 11111111-1111-1111-1111-111111111111\nstart=2048, size=81920,"
                b" uuid=22222222-2222-2222-2222-222222222222, name=root\n"
            ),
        )
        fixed = f"hash_seed=33333333-3333-3333-3333-333333333333,offset={MIB}"
        command.run(
            [
                "mke2fs",
                "-q",
                "-F",
                "-t",
                "ext4",
                "-U",
                "33333333-3333-3333-3333-333333333333",
                "-E",
                fixed,
                "-d",
                tree,
                file,
                "40M",
            ],
            env={"E2FSPROGS_FAKE_TIME": "1"},
        )
        images.append(file)
    assert compare(images[0], images[0]) == []
    (found,) = compare(*images)
    assert found.area == "partition 1 (root), ext4"
    assert any(owner.endswith(": /etc/motd") and owner.startswith("inode ") for owner in found.owners), (
        found.owners
    )
    other = tmp_path / "other.qcow2"
    disk_image.convert(images[0], "raw", other, "qcow2")
    assert compare(other, images[0]) == [], "formats do not matter, content does"
    (tmp_path / "short.raw").write_bytes(b"x" * MIB)
    assert "the size" in compare(images[0], tmp_path / "short.raw")[0].area


# --- comparing anything -------------------------------------------------------------------------------------


def status(*files: Path) -> int:
    """Return what `imagebuild compare` ends with."""
    done = CliRunner().invoke(app, ["compare", *(str(file) for file in files)])
    assert done.exception is None or isinstance(done.exception, BuildError | SystemExit)
    return done.exception.exit_code if isinstance(done.exception, BuildError) else done.exit_code


def filesystem(file: Path, *argv: str) -> Path:
    with file.open("wb") as stream:
        stream.truncate(64 * MIB)
    subprocess.run([*argv, file], check=True, capture_output=True)
    return file


def changed(file: Path, offset: int) -> Path:
    other = file.with_name(f"other-{file.name}")
    other.write_bytes(file.read_bytes())
    with other.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"changed")
    return other


EXT4 = ("mke2fs", "-q", "-F", "-t", "ext4")
FAT = ("mkfs.vfat", "-F", "16")


@pytest.mark.parametrize(
    ("argv", "area"),
    [(EXT4, "the disk, ext4"), (FAT, "the disk, fat"), (("mkswap",), "the disk"), (("true",), "the disk")],
    ids=["ext4", "fat", "swap", "nothing"],
)
def test_what_has_no_partition_table_is_compared(tmp_path: Path, argv: tuple[str, ...], area: str) -> None:
    file = filesystem(tmp_path / "a.img", *argv)
    assert compare(file, file) == []
    (found,) = compare(file, changed(file, 33 * MIB))
    assert (found.area, found.blocks, found.first) == (area, 1, 33 * MIB)
    assert found.owners


def test_a_text_is_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n" * 1000)
    (tmp_path / "b").write_text("two\n" * 1000)
    assert [found.area for found in compare(tmp_path / "a", tmp_path / "b")] == ["the disk"]


@pytest.mark.parametrize(
    "table",
    [
        b"label: dos\n",
        (
            b"label: dos\nstart=2048, size=4096, type=83\nstart=8192, size=65536, type=5\nstart=10240,"
            b" size=4096, type=83\n"
        ),
        b"label: gpt\n",
    ],
    ids=["empty", "logical", "empty gpt"],
)
def test_every_difference_is_in_an_area(tmp_path: Path, table: bytes) -> None:
    file = filesystem(tmp_path / "a.img", "true")
    command.run(["sfdisk", "--quiet", file], stdin=table)
    for offset in (0, MIB + 512, 5 * MIB + 512, 10 * MIB, 63 * MIB):
        found = compare(file, changed(file, offset))
        assert sum(difference.blocks for difference in found) == 1, offset


def test_a_file_system_that_cannot_be_read_differs_all_the_same(tmp_path: Path) -> None:
    file = filesystem(tmp_path / "a.img", "true")
    with file.open("r+b") as stream:
        stream.seek(1024 + 0x38)
        stream.write(b"\x53\xef")  # ext4's magic, and zeros around it
    (found,) = compare(file, changed(file, 33 * MIB))
    assert "cannot be told" in found.owners[0]


def test_the_exit_status_of_compare_is_1_for_a_difference_and_nothing_else(tmp_path: Path) -> None:
    file = filesystem(tmp_path / "a.img", *EXT4)
    damaged = tmp_path / "damaged.qcow2"
    damaged.write_bytes(b"QFI\xfb" + b"\xff" * 1000)
    lost = tmp_path / "lost.qcow2"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/nonexistent", "-F", "raw", lost, "1M"],
        check=True,
    )
    assert status(file, file) == 0
    assert status(file, changed(file, 0)) == 1
    assert [status(file, other) for other in (damaged, lost, tmp_path, tmp_path / "nothing")] == [2, 2, 2, 2]


def test_what_keeps_a_comparison_from_its_end_is_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = filesystem(tmp_path / "a.img", *EXT4)
    for error in (
        MissingToolError("the program x is not installed"),
        OSError("broken"),
        RuntimeError("nobody thought of that"),
    ):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("imagebuild.deploy.compare.different_blocks", fail)
        with pytest.raises(ComparisonError, match="cannot be compared") as caught:
            compare(file, file)
        assert caught.value.exit_code == 2
