"""Programs of a FAT file system inside of a disk, and keys in a firmware's variables."""

from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import bootloader
from imagebuild.errors import BuildError
from imagebuild.tools import command
from imagebuild.tools.qemu.firmware import EDK2, EDK2_SECURE
from imagebuild.tools.secure_boot import enrolled
from imagebuild.tools.secure_boot.esp import programs_on
from imagebuild.tools.secure_boot.program import certificate_name

OFFSET = 1 << 20


def test_programs_are_read_from_where_the_esp_begins(tmp_path: Path) -> None:
    files = {"EFI/BOOT/BOOTX64.EFI": b"MZ1", "EFI/a b/x.efi": b"MZ2", "EFI/a b/grub.cfg": b"text"}
    image = tmp_path / "esp.img"
    image.write_bytes(bytes(4 << 20))
    command.run(["mkfs.vfat", "-F", "12", image])
    bootloader.fill_with_mtools(image, {PurePosixPath(path): data for path, data in files.items()})
    disk = tmp_path / "disk@@5"
    disk.write_bytes(bytes(OFFSET) + image.read_bytes())
    assert programs_on(disk, OFFSET) == {path: data for path, data in files.items() if data != b"text"}
    with pytest.raises(BuildError):
        programs_on(disk, 0)


def test_the_keys_of_ovmf() -> None:
    flash = EDK2_SECURE.find_flash("x86_64")
    assert flash is not None
    names = {certificate_name(certificate) for certificate in enrolled.read(flash.variables).trusted}
    assert names >= {"Microsoft Windows Production PCA 2011", "Microsoft Corporation UEFI CA 2011"}


def test_a_firmware_without_keys(tmp_path: Path) -> None:
    flash = EDK2.find_flash("x86_64")
    assert flash is not None
    (tmp_path / "nothing").write_bytes(bytes(1 << 16))
    for file in (flash.variables, tmp_path / "nothing", tmp_path / "missing"):
        with pytest.raises(BuildError, match=r"keys enrolled|cannot be read"):
            enrolled.read(file)
