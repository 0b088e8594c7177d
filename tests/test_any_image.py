"""Any image file: known by its content, refused when it reads from elsewhere; and the two commands about one."""

import subprocess
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imagebuild import criteria
from imagebuild.any_image import opened, recognise
from imagebuild.cli import app
from imagebuild.errors import BuildError, UsageError
from imagebuild.kinds import Firmware
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
    for name, members in (("vagrant-libvirt", ["metadata.json", "box.img"]), ("vagrant-virtualbox", ["./box.ovf", "./metadata.json"])):
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            for member in members:
                tar.addfile(tarfile.TarInfo(member))
        assert recognise(tmp_path / name) == name
    iso = tmp_path / "x.iso"
    iso.write_bytes(b"\0" * 32769 + b"CD001" + b"\0" * 2048)
    assert recognise(iso) == "iso"


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no disk image that is known"):
        recognise(tmp_path / "text")
    with pytest.raises(UsageError, match="there is no file"):
        recognise(tmp_path / "nothing")


def test_an_image_that_reads_from_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = raw(tmp_path)
    overlay = tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", overlay], check=True)
    with pytest.raises(BuildError, match="it reads from"), opened(overlay, tmp_path, Firmware.UEFI, TCG):
        pass
    # a sparse vmdk's header with a description of a flat one
    flat = tmp_path / "flat.vmdk"
    text = f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "{secret}" 0\n'
    header = bytearray(512)
    header[0:8] = b"KDMV\x01\x00\x00\x00"
    header[28:36] = (1).to_bytes(8, "little")
    header[36:44] = (20).to_bytes(8, "little")
    flat.write_bytes(bytes(header) + text.encode().ljust(10240, b"\0"))
    with pytest.raises(BuildError), opened(flat, tmp_path, Firmware.UEFI, TCG):
        pass


def test_a_whole_image_is_opened_as_it_is(tmp_path: Path) -> None:
    for file in (raw(tmp_path), converted(tmp_path, "qcow2"), converted(tmp_path, "vmdk", "-o", "subformat=streamOptimized")):
        with opened(file, tmp_path, Firmware.UEFI, TCG) as (unpacked, installed):
            assert (unpacked.disk, installed) == (file, False)


def test_an_unknown_criterion_lists_the_known_ones(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["test", str(raw(tmp_path)), "--ref", "debian/12/x86_64/atomic-host", "--criteria", "x", "--store", str(tmp_path)]
    )
    assert isinstance(done.exception, UsageError)
    assert "there is no criterion x" in done.exception.message
    assert "containers-run" in done.exception.hint


@pytest.mark.parametrize("name", criteria.required(atomic=True, installer=True))
def test_every_name_that_a_verdict_has_can_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class BegunError(Exception):
        pass

    def begin(*_: object) -> None:
        raise BegunError

    monkeypatch.setattr("imagebuild.tools.accelerator.probe", begin)
    where = ["--ref", "debian/12/x86_64/atomic-host", "--criteria", f"containers-run,{name}", "--store", str(tmp_path)]
    iso = tmp_path / "x.iso"
    iso.write_bytes(bytes(32769) + b"CD001".ljust(4096, b"\0"))
    assert isinstance(CliRunner().invoke(app, ["test", str(iso), *where]).exception, BegunError)
    refused = CliRunner().invoke(app, ["test", str(raw(tmp_path)), *where]).exception
    if name == criteria.INSTALLS:
        assert isinstance(refused, UsageError)
        assert refused.message == "installer-media-boots-and-installs is asked of installer ISOs only, and disk.img is raw"
    else:
        assert isinstance(refused, BegunError)
