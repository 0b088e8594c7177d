"""Any image file: known by its content, refused when it reads from elsewhere; and the two commands about
one.
"""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imagebuild.cli.main import app
from imagebuild.errors import BuildError, UsageError
from imagebuild.formats import bounded, layers
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke.any_image import opened, recognise
from imagebuild.smoke.criteria import registry as criteria
from tests.smoke.images import METADATA, OVF, OVF_1, TCG, box_of, converted, disk, opens, ova, raw, run


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
    monkeypatch.setattr(bounded, "LARGEST", 32 << 20)
    with pytest.raises(BuildError, match=r"zeros\.xz unpacks to more than"):
        opens(tmp_path / "zeros.xz", tmp_path)
    monkeypatch.setattr(bounded, "LARGEST", 1 << 40)
    monkeypatch.setattr(bounded, "RESERVE", 1 << 60)
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
    with pytest.raises(BuildError, match=r"is damaged|not a disk image"):
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
