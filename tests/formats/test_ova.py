"""An appliance, point by point as DSP0243 wants it and as `tar` and `sha256sum` read it, and those that an
import would refuse.

ovftool and VBoxManage are in no archive of Debian's: nothing of theirs is run here.
"""

import hashlib
import re
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from imagebuild.errors import BuildError
from imagebuild.formats import bounded, box, ova
from imagebuild.formats.format import Source
from imagebuild.formats.ova import OvaConfig
from imagebuild.kinds import Controller, Firmware
from imagebuild.smoke import any_image
from imagebuild.tools.accelerator import Accelerator
from imagebuild.tools.qemu import disk_image
from tests.formats.schema import schema
from tests.golden import check_golden

MIB = 1 << 20
TCG = Accelerator(name="tcg", slowness=1, reason="")


@pytest.fixture
def written(source: Source, tmp_path: Path) -> Path:
    disk = replace(source.disk, firmware=frozenset(Firmware))
    return ova.write(replace(source, disk=disk), tmp_path, "Test-1", OvaConfig())


def test_an_appliance_point_by_point(written: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    assert written.read_bytes()[257:265] == b"ustar\x0000", "POSIX' format"
    out = tmp_path / "out"
    out.mkdir()
    listed = subprocess.run(
        ["tar", "-xvf", written, "-C", out], check=True, capture_output=True, text=True
    ).stdout.split()
    assert listed == ["Test-1.ovf", "Test-1.mf", "Test-1-disk1.vmdk"], "the description comes first"
    manifest = (out / "Test-1.mf").read_text()
    assert re.fullmatch(r"(SHA256\([^)]+\)= [0-9a-f]{64}\n){2}", manifest)
    # coreutils reads the manifest as what --tag writes
    (out / "SUMS").write_text(manifest.replace("SHA256(", "SHA256 (").replace(")= ", ") = "))
    subprocess.run(["sha256sum", "--check", "--strict", "SUMS"], check=True, cwd=out, capture_output=True)
    facts = disk_image.info(out / "Test-1-disk1.vmdk", "vmdk")
    assert facts["format-specific"]["data"]["create-type"] == "streamOptimized"
    assert facts["virtual-size"] == 64 * MIB
    description = (out / "Test-1.ovf").read_bytes()
    schema().assertValid(etree.fromstring(description))
    size = str((out / "Test-1-disk1.vmdk").stat().st_size)
    assert f'ovf:size="{size}"' in description.decode()
    check_golden(request, "machine.ovf", description.decode().replace(size, "SIZE"))
    assert ova.problems(written) == []


def test_it_is_booted_as_its_description_says(written: Path, tmp_path: Path) -> None:
    assert any_image.recognise(written) == "ova"
    for name in ("own", "any"):
        (tmp_path / name).mkdir()
    own = ova.unpack(written, tmp_path / "own")
    assert (own.format, own.controller) == ("vmdk", Controller.PVSCSI)
    with any_image.opened(written, tmp_path / "any", Firmware.UEFI, TCG) as (unpacked, _):
        assert (unpacked.format, unpacked.controller) == ("vmdk", Controller.PVSCSI)


def test_a_disk_for_bios_alone_is_not_described_as_efi(source: Source, tmp_path: Path) -> None:
    disk = replace(source.disk, firmware=frozenset({Firmware.BIOS}))
    file = ova.write(replace(source, disk=disk), tmp_path, "Test-1", OvaConfig())
    assert b'vmw:value="efi"' not in file.read_bytes()[: MIB // 16]
    assert ova.problems(file) == []


@pytest.mark.parametrize(
    "given", [{"hardware": 6}, {"cores": 0}, {"memory": 100}, {"memory": 2049}, {"disk": 1}]
)
def test_options_have_bounds(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        OvaConfig.model_validate(given)


# --- those that would be refused ----------------------------------------------------------------------------

Content = dict[str, bytes]


def again(file: Path, change: Callable[[Content], Content], form: int = tarfile.USTAR_FORMAT) -> None:
    """Write an archive anew with other members."""
    with tarfile.open(file) as tar:
        content = {
            member.name: stream.read() for member in tar if (stream := tar.extractfile(member)) is not None
        }
    with file.open("wb") as stream:
        box.write_archive(stream, dict(change(content)), 0, form)


def manifest(content: Content) -> Content:
    """Return it with a manifest that holds."""
    lines = [
        f"SHA256({name})= {hashlib.sha256(data).hexdigest()}\n"
        for name, data in content.items()
        if not name.endswith(".mf")
    ]
    return {name: "".join(lines).encode() if name.endswith(".mf") else data for name, data in content.items()}


def edit(old: bytes, new: bytes) -> Callable[[Content], Content]:
    def change(content: Content) -> Content:
        assert old in content["Test-1.ovf"]
        return manifest(content | {"Test-1.ovf": content["Test-1.ovf"].replace(old, new)})

    return change


DISK = "Test-1-disk1.vmdk"
WITH_TYPE = b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><Envelope'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: dict(sorted(content.items())), "first member is not the description"),
        (
            lambda content: {name: content[name] for name in ("Test-1.ovf", DISK, "Test-1.mf")},
            "second member is not the manifest",
        ),
        (lambda content: {"Test-1.ovf": content["Test-1.ovf"], DISK: content[DISK]}, "has no manifest"),
        (lambda content: content | {DISK: content[DISK][:-1] + b"x"}, f"the digest of {DISK} is not that"),
        (
            lambda content: content | {"Test-1.ovf": content["Test-1.ovf"] + b"\n"},
            "the digest of Test-1.ovf is not",
        ),
        (lambda content: content | {"Test-1.mf": b""}, "its manifest has no digest of Test-1.ovf"),
        (lambda content: content | {"Test-1.mf": b"hello\n"}, "a line without a digest"),
        (lambda content: manifest(content | {DISK: b"KDMV" + bytes(1000)}), "is not a vmdk of the kind"),
        (lambda content: manifest(content | {DISK: content[DISK] + b"x"}), "bytes, not the"),
        (lambda content: manifest(content | {"notes": b""}), f"it has {DISK}, notes where"),
        (edit(b"Test-1-disk1", b"../../../etc/passwd"), r"names \.\./"),
        (edit(b"<File ", b"<Other "), "its description names no disk"),
        (edit(b"<Envelope", WITH_TYPE), "has a document type"),
        (edit(b"</Envelope>", b""), "is not XML"),
        (lambda content: content | {"Test-1.ovf": bytes(2 * MIB)}, "Test-1.ovf has 2097152 bytes"),
        (lambda content: {f"../{name}": data for name, data in content.items()}, "is not a plain file"),
        (lambda content: content | {f"n{number}": b"" for number in range(70)}, "more than 64 members"),
        (lambda _: dict[str, bytes](), "its first member is not the description"),
    ],
)
def test_what_an_import_would_refuse_is_refused(
    written: Path, tmp_path: Path, change: Callable[[Content], Content], said: str
) -> None:
    again(written, change)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(BuildError, match=said):
        ova.unpack(written, out)
    assert not list(out.iterdir())


def test_gnus_headers_are_refused(written: Path) -> None:
    again(written, lambda content: content, tarfile.GNU_FORMAT)
    assert ova.problems(written) == ["it is not in POSIX' format of tar"]


def test_a_link_in_it_is_refused(written: Path) -> None:
    with tarfile.open(written, "w") as tar:
        info = tarfile.TarInfo("Test-1.ovf")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert "is not a plain file" in ova.problems(written)[0]


@pytest.mark.parametrize("size", [0, 100, 700, 20000])
def test_half_a_download_is_refused(written: Path, size: int) -> None:
    with written.open("r+b") as stream:
        stream.truncate(size)
    assert ova.problems(written)


def test_a_disk_that_there_is_no_room_for_is_refused(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "RESERVE", 1 << 60)
    with pytest.raises(BuildError, match="there is no room"):
        ova.unpack(written, tmp_path)
