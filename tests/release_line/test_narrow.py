"""A part of a release line: some formats, one firmware."""

from pathlib import Path

import pytest

from imagebuild.errors import UsageError
from imagebuild.kinds import Firmware
from imagebuild.release_line.narrow import narrow
from imagebuild.release_line.reading import load
from tests.data import ROOT

DEBIAN = load(ROOT / "configs" / "debian-12.yaml", Path("store"))


def made(
    formats: tuple[str, ...] = (), firmware: Firmware | None = None
) -> tuple[dict[str, list[str]], bool]:
    config = narrow(DEBIAN, formats, firmware)
    images = {name: sorted(image.formats) for name, image in config.images.items()}
    return images, config.installer is not None


def test_one_format_of_one_disk() -> None:
    assert made(("qcow2",), Firmware.UEFI) == ({"cloud": ["qcow2"]}, False)


def test_a_disk_that_another_is_made_of_stays_without_downloads() -> None:
    assert made(("vagrant-libvirt",)) == ({"cloud": [], "vagrant": ["vagrant-libvirt"]}, False)


def test_only_the_installer() -> None:
    images, installer = made(("iso",))
    assert installer
    assert images == {"cloud": []}


def test_a_firmware_is_the_only_one_everywhere() -> None:
    config = narrow(DEBIAN, firmware=Firmware.BIOS)
    assert {image.firmware for image in config.images.values()} == {(Firmware.BIOS,)}
    assert {image.installed for image in config.images.values()} == {(Firmware.BIOS,)}
    assert config.installer is not None
    assert config.installer.firmware == (Firmware.BIOS,)


def test_nothing_asked_for_is_everything() -> None:
    assert narrow(DEBIAN) == DEBIAN


def test_what_the_line_does_not_make_is_refused() -> None:
    with pytest.raises(UsageError, match="makes no qcow3") as caught:
        narrow(DEBIAN, ("qcow3",))
    assert "raw.xz" in caught.value.hint


def test_a_firmware_that_nothing_is_tested_under_is_refused() -> None:
    bios = narrow(DEBIAN, firmware=Firmware.BIOS)
    with pytest.raises(UsageError, match="not tested under uefi"):
        narrow(bios, firmware=Firmware.UEFI)
