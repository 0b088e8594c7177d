"""Media that others made become unattended ones: their menus are changed where they are."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.installers.unattended import grub_edit, isolinux_edit
from imagebuild.kinds import Firmware
from imagebuild.tools import iso
from imagebuild.tools.menus import grub_menu as grub_reader
from imagebuild.tools.menus import isolinux_menu, medium
from imagebuild.tools.menus.menu import ESP, ISO, Spot
from tests.installers.unattended.media import (
    BIOS_MENUS,
    GRUB_SPOT,
    SHORT,
    TRAMPOLINE,
    WANTED,
    added,
    medium_of,
    volume,
)
from tests.menu_cases import entry


@pytest.mark.parametrize("files", BIOS_MENUS.values(), ids=list(BIOS_MENUS))
def test_an_isolinux_menu_is_changed_where_it_is(files: Mapping[str, str]) -> None:
    start = isolinux_menu.configuration(volume(files))
    assert start is not None
    after = isolinux_menu.read(
        volume(files).changed(isolinux_edit.add_label(volume(files), start, WANTED, default=True)), start
    )
    assert after is not None
    assert after.booted is not None
    assert (after.timeout, WANTED in after.booted.arguments, "http://old" in str(after.booted)) == (
        10,
        True,
        False,
    )
    assert after.booted.initrds != ()


@pytest.mark.parametrize("name", ["made of includes", "with INITRD", "in /boot/syslinux, by a path"])
def test_a_medium_of_isolinux_is_changed_where_it_is(tmp_path: Path, name: str) -> None:
    seen = added(tmp_path, medium_of(tmp_path, BIOS_MENUS[name], {"/EFI/BOOT/grub.cfg": SHORT}))
    assert (seen[Firmware.BIOS].seconds, seen[Firmware.BIOS].title) == (
        10,
        "Install unattended (erases the disk)",
    )
    assert str(seen[Firmware.BIOS].spot).partition(":")[0] == list(BIOS_MENUS[name])[-1]
    assert str(seen[Firmware.UEFI].spot).startswith("the ESP, /EFI/BOOT/grub.cfg:")
    assert iso.check_md5(tmp_path / "out.iso")


GRUB_MENUS = {
    "without set": "default=1\ntimeout=60\n",
    "set again in an if": (
        'set default=0\nif [ "$grub_platform" = pc -o "$grub_platform" = efi ]; then set default=1; fi\n'
    ),
    "set in a function": "function settings {\n  set default=1\n  set timeout=90\n}\nsettings\n",
    "a saved entry": 'set default="${saved_entry}"\n',
    "by its title": 'set default="Test X"\nset timeout=60\n',
}


@pytest.mark.parametrize("head", GRUB_MENUS.values(), ids=list(GRUB_MENUS))
@pytest.mark.parametrize(
    "esp",
    [
        TRAMPOLINE,
        TRAMPOLINE.replace("configfile", "source"),
        'search -l "TEST-1" --set\nnormal ($root)/boot/grub2/grub.cfg\n',
    ],
)
def test_a_grub_menu_behind_a_trampoline_is_changed_where_it_is(head: str, esp: str) -> None:
    files = {
        "/boot/grub2/grub.cfg": head + entry("Install X", name="vmlinuz") + entry("Test X", name="vmlinuz")
    }
    volumes = [volume({"/EFI/BOOT/grub.cfg": esp}, name=ESP, label="ESP"), volume(files, label="TEST-1")]
    start = Spot(volume=ESP, file="/EFI/BOOT/grub.cfg", line=1)
    changed = grub_edit.add_entry(volumes, start, Firmware.UEFI, WANTED, default=True)
    after = grub_reader.read([one.changed(changed) for one in volumes], start.file, Firmware.UEFI)
    assert after.booted is not None
    assert (after.timeout, after.booted.title, after.booted.spot.file) == (
        10,
        "Install X unattended (erases the disk)",
        "/boot/grub2/grub.cfg",
    )


@pytest.mark.parametrize("head", [GRUB_MENUS["set again in an if"]])
@pytest.mark.parametrize(
    "esp",
    [None, TRAMPOLINE, TRAMPOLINE.replace("configfile", "source")],
    ids=["itself", "configfile", "source"],
)
def test_a_medium_of_grub_is_changed_where_it_is(tmp_path: Path, head: str, esp: str | None) -> None:
    text = head + entry("Install X", name="vmlinuz") + entry("Test X", name="vmlinuz")
    source = medium_of(
        tmp_path,
        {"/boot/grub2/grub.cfg": text},
        {"/EFI/BOOT/grub.cfg": esp or text},
        bios="images/eltorito.img",
        appended=esp is None,
    )
    seen = added(tmp_path, source)
    place = "the ESP, /EFI/BOOT/grub.cfg" if esp is None else "/boot/grub2/grub.cfg"
    assert str(seen[Firmware.UEFI].spot).startswith(place)
    assert {one.seconds for one in seen.values()} == {10}
    assert {one.title for one in seen.values()} == {"Install X unattended (erases the disk)"}


# livecd-tools 31.0 (imgcreate/kickstart.py, tools/editliveos: `liveimg` is its older name), lorax 46.0
# (live/config_files/x86), casper, live-boot, debian-installer, archiso
NO_KICKSTART = (
    "root=live:CDLABEL=V rd.live.image quiet",
    "root=live:CDLABEL=V rootfstype=auto ro liveimg quiet rhgb rd.luks=0",
    "root=live:CDLABEL=V rd.live.image rd.live.check quiet",
    "boot=casper quiet splash ---",
    "boot=live components quiet",
    "vga=788 --- quiet",
    "archisobasedir=arch archisolabel=V",
)


@pytest.mark.parametrize("words", NO_KICKSTART)
def test_what_reads_no_kickstart_is_refused(words: str) -> None:
    """Anaconda 45.21, data/liveinst/liveinst: "Kickstart is not supported on Live ISO installs"."""
    text = f"timeout=5\nmenuentry 'Start' {{\n linux /vmlinuz {words}\n initrd /initrd.img\n}}\n"
    with pytest.raises(BuildError, match="has no entry that boots an installer") as refused:
        grub_edit.add_entry([volume({GRUB_SPOT.file: text})], GRUB_SPOT, Firmware.UEFI, WANTED, default=True)
    assert "live media and installers other than Anaconda take no kickstart" in str(refused.value.hint)
    path = "/isolinux/isolinux.cfg"
    text = f"ui menu.c32\nlabel live\n kernel vmlinuz\n append initrd=initrd.img {words}\n"
    with pytest.raises(BuildError, match="has no label that boots an installer") as refused:
        isolinux_edit.add_label(volume({path: text}), path, WANTED, default=True)
    assert "live media" in str(refused.value.hint)
    # nor is what had one added in vain an unattended installation
    with pytest.raises(BuildError, match="has no label"):
        isolinux_edit.add_label(
            volume({path: text.replace("initrd.img", f"initrd.img {WANTED}")}), path, WANTED, default=True
        )


def test_beside_a_live_system_the_installer_is_taken() -> None:
    live = f"menuentry 'Start' {{\n linux /vmlinuz {NO_KICKSTART[0]}\n initrd /initrd.img\n}}\n"
    changed = grub_edit.add_entry(
        [volume({GRUB_SPOT.file: live + SHORT})], GRUB_SPOT, Firmware.UEFI, WANTED, default=True
    )
    menu = grub_reader.read(
        [volume({GRUB_SPOT.file: changed[ISO, GRUB_SPOT.file]})], GRUB_SPOT.file, Firmware.UEFI
    )
    assert menu.booted is not None
    assert menu.booted.title == "Install X 9 unattended (erases the disk)"
    assert "inst.stage2=hd:LABEL=V" in menu.booted.arguments


def test_kernels_of_variables_and_functions_get_their_words_written_out(tmp_path: Path) -> None:
    text = (
        'args="inst.stage2=hd:LABEL=TEST-1 inst.ks=http://old/ks.cfg rd.live.check"\nfunction load {\n '
        " linux $1 $args quiet\n  initrd /i\n}\nmenuentry 'Install X' {\n  load /vmlinuz\n}\n"
    )
    added(
        tmp_path,
        medium_of(
            tmp_path,
            {"/boot/grub2/grub.cfg": text},
            {"/EFI/BOOT/grub.cfg": TRAMPOLINE},
            bios="images/eltorito.img",
        ),
    )
    booted = medium.menus(tmp_path / "out.iso", tmp_path)[Firmware.UEFI].booted
    assert booted is not None
    assert booted.arguments == ("inst.stage2=hd:LABEL=TEST-1", "inst.ks=hd:LABEL=TEST-1:/ks.cfg", "quiet")
    assert (booted.kernel, booted.initrds) == ("/vmlinuz", ("/i",))
