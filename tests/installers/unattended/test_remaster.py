"""An installer ISO becomes an unattended one, and what was written is read back."""

import subprocess
from pathlib import Path

import pytest

from imagebuild.errors import BuildError, UsageError
from imagebuild.installers.unattended import isolinux_edit, remaster
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.tools import iso, iso_writer
from imagebuild.tools.menus import medium
from tests.installers.unattended.media import (
    BIOS_MENUS,
    KICKSTART,
    LABELS,
    SHORT,
    added,
    make_iso,
    medium_of,
)
from tests.menu_cases import entry


def esp_menu(image: Path, work: Path) -> str:
    """Return the menu that UEFI reads: the one in the ESP that El Torito names."""
    said = subprocess.run(
        ["xorriso", "-indev", image, "-report_el_torito", "plain"], capture_output=True, text=True, check=True
    ).stdout
    line = next(
        line for line in said.splitlines() if line.startswith("El Torito boot img") and "UEFI" in line
    )
    start = int(line.split()[-1]) * 2048
    esp = work / "read-esp.img"
    esp.write_bytes(image.read_bytes()[start : start + (4 << 20)])
    return subprocess.run(
        ["mtype", "-i", esp, "::/EFI/BOOT/grub.cfg"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("appended", [True, False], ids=["appended ESP", "ESP as a file"])
def test_an_iso_becomes_an_unattended_one(tmp_path: Path, appended: bool) -> None:
    source, kickstart, target = (
        make_iso(tmp_path, appended=appended),
        tmp_path / "my.ks",
        tmp_path / "out.iso",
    )
    kickstart.write_text(KICKSTART)
    before = source.read_bytes()
    remaster.add_kickstart(source, kickstart, target, syntax="F28")
    assert source.read_bytes() == before
    assert iso.check_md5(target), "the media checksum was not implanted again"
    assert iso.volume_id(target) == "Fedora-27"
    assert [each.platform for each in iso.boot_entries(target)] == ["BIOS", "UEFI"]
    assert iso.read(target, "/ks.cfg", tmp_path).decode() == KICKSTART
    for text in (
        iso.read(target, "/boot/grub2/grub.cfg", tmp_path).decode(),
        iso.read(target, "/EFI/BOOT/grub.cfg", tmp_path).decode(),
        esp_menu(target, tmp_path),
    ):
        assert "inst.ks=hd:LABEL=Fedora-27:/ks.cfg" in text
        assert "set timeout=10" in text
    assert set(iso.listing(target)) == {*iso.listing(source), "/ks.cfg"}


def test_what_the_firmware_would_not_boot_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    """A menu that is left by what the entry's own kernel cannot mend: nothing is written."""
    text = f"set timeout=60\n{entry('Install X')}configfile /boot/grub2/local.cfg\n"
    files = {"/boot/grub2/grub.cfg": text, "/boot/grub2/local.cfg": "menuentry 'Local' {\n  exit\n}\n"}
    source = medium_of(tmp_path, files, {"/EFI/BOOT/grub.cfg": SHORT}, bios="images/eltorito.img")
    with pytest.raises(
        BuildError, match=r"the menu /boot/grub2/local\.cfg:1 has no entry that boots an installer"
    ):
        added(tmp_path, source)
    assert not (tmp_path / "out.iso").exists()


def test_what_is_read_back_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The menus are not changed at all: that is seen, and said with the line of what would be booted."""
    source = medium_of(tmp_path, BIOS_MENUS["made of includes"], {"/EFI/BOOT/grub.cfg": SHORT})
    real = isolinux_edit.add_label
    monkeypatch.setattr(isolinux_edit, "add_label", lambda *given, **_: real(*given, default=False))
    with pytest.raises(
        BuildError,
        match=(
            r"out\.iso under BIOS: its menu /isolinux/isolinux\.cfg:1 boots 'Install X'"
            r" \(/isolinux/entries\.cfg:1\), not"
        ),
    ):
        added(tmp_path, source)
    monkeypatch.setattr(isolinux_edit, "add_label", lambda *_, **__: {})
    with pytest.raises(
        BuildError, match=r"under BIOS: its menu /isolinux/isolinux\.cfg:1 has no entry with the kickstart"
    ):
        added(tmp_path, source)
    assert not (tmp_path / "out.iso").exists()


def test_on_demand_nothing_is_unattended_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a default isolinux boots its first label: the new one is never that."""
    files = {"/isolinux/isolinux.cfg": "default vesamenu.c32\ntimeout 600\n" + LABELS}
    source = medium_of(tmp_path, files, {"/EFI/BOOT/grub.cfg": SHORT})
    seen = added(tmp_path, source, default=False)
    assert {one.seconds for one in seen.values()} == {None}
    (tmp_path / "out.iso").unlink()
    real = isolinux_edit.add_label
    monkeypatch.setattr(isolinux_edit, "add_label", lambda *given, **_: real(*given, default=True))
    with pytest.raises(BuildError, match="by itself, which erases the disk"):
        added(tmp_path, source, default=False)


@pytest.mark.parametrize(
    "line",
    [
        "%include /run/install/repo/osbuild-base.ks",
        "%include http://server/base.ks",
        "%ksappend https://server/base.ks",
        "%packages\n%include /run/p\n%end",
    ],
)
def test_what_anaconda_includes_is_left_to_it(tmp_path: Path, line: str) -> None:
    text = f"{line}\ntext\nrootpw --lock\nuser --name=admin --groups=wheel --iscrypted\n"
    added(tmp_path, medium_of(tmp_path, BIOS_MENUS["with INITRD"], {"/EFI/BOOT/grub.cfg": SHORT}), text)
    assert iso.read(tmp_path / "out.iso", "/ks.cfg", tmp_path).decode() == text


@pytest.mark.parametrize(
    "line",
    [
        "%include /run/install/repo/ks.cfg",
        "%include  file:///run/install/isodir/ks.cfg",
        "%ksappend /mnt/install/source/ks.cfg # it",
    ],
)
def test_a_kickstart_that_would_include_itself_is_refused(tmp_path: Path, line: str) -> None:
    source = medium_of(
        tmp_path, {**BIOS_MENUS["with INITRD"], "/ks.cfg": "lang en_US\n"}, {"/EFI/BOOT/grub.cfg": SHORT}
    )
    with pytest.raises(UsageError, match=r"my\.ks:2 includes /ks\.cfg of the medium, whose place it takes"):
        added(tmp_path, source, f"text\n{line}\n")


def test_a_line_after_an_include_keeps_its_number(tmp_path: Path) -> None:
    source = medium_of(tmp_path, BIOS_MENUS["with INITRD"], {"/EFI/BOOT/grub.cfg": SHORT})
    with pytest.raises(BadKickstartError, match=r"my\.ks:2: .*nonsense"):
        added(tmp_path, source, "%include /run/install/repo/base.ks\nnonsense\n")


def test_a_medium_that_boots_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/grub.cfg").write_text(SHORT)
    subprocess.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-o",
            tmp_path / "in.iso",
            "-R",
            "-V",
            "TEST-1",
            tmp_path / "tree",
        ],
        check=True,
        capture_output=True,
    )
    with pytest.raises(BuildError, match="boots neither under BIOS nor under UEFI"):
        added(tmp_path, tmp_path / "in.iso")
    assert not (tmp_path / "out.iso").exists()


def test_names_that_a_shell_would_stumble_over_are_names(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("it's", "a\nb", "LINKS", "-find", "DIRECTORIES"):
        (tmp_path / "more" / name).write_text(name)
    source = medium_of(
        tmp_path, BIOS_MENUS["with INITRD"], {"/EFI/BOOT/grub.cfg": SHORT}, more=(str(tmp_path / "more"),)
    )
    assert iso.content(source).files["/it's"].size == 4
    assert added(tmp_path, source)[Firmware.BIOS].seconds == 10


def test_the_uuid_that_a_menu_searches_for_stays(tmp_path: Path) -> None:
    esp = {
        "/EFI/BOOT/grub.cfg": (
            "search --set=root --fs-uuid 2026-01-02-03-04-05-00\nconfigfile /boot/grub2/grub.cfg\n"
        )
    }
    source = medium_of(
        tmp_path,
        {"/boot/grub2/grub.cfg": SHORT},
        esp,
        bios="images/eltorito.img",
        more=("--modification-date=2026010203040500",),
    )
    assert str(added(tmp_path, source)[Firmware.UEFI].spot).startswith("/boot/grub2/grub.cfg:")


def test_a_link_in_somebody_elses_image_is_not_followed(tmp_path: Path) -> None:
    """A boot menu that is a link to a file of the build host: its mode and content stay what they are."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    source = make_iso(tmp_path)
    (tmp_path / "link").symlink_to(secret)
    hostile = tmp_path / "hostile.iso"
    subprocess.run(
        [
            "xorriso",
            "-indev",
            source,
            "-outdev",
            hostile,
            "-boot_image",
            "any",
            "replay",
            "-rm",
            "/boot/grub2/grub.cfg",
            "--",
            "-map",
            tmp_path / "link",
            "/boot/grub2/grub.cfg",
        ],
        check=True,
        capture_output=True,
    )
    (tmp_path / "my.ks").write_text(KICKSTART)
    with pytest.raises(BuildError, match=r"/boot/grub2/grub\.cfg of hostile\.iso is a symbolic link"):
        remaster.add_kickstart(hostile, tmp_path / "my.ks", tmp_path / "out.iso", syntax="F28")
    with pytest.raises(BuildError, match="is a symbolic link"):
        iso.read(hostile, "/boot/grub2/grub.cfg", tmp_path)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_an_esp_without_a_menu_is_said(tmp_path: Path) -> None:
    source = make_iso(tmp_path)
    esp = medium.appended_esp(source, tmp_path)
    assert esp is not None
    subprocess.run(["mdel", "-i", esp, "::/EFI/BOOT/grub.cfg"], check=True)
    bare = tmp_path / "bare.iso"
    (tmp_path / "my.ks").write_text(KICKSTART)
    iso_writer.remaster(source, bare, changed={}, added={"/something": tmp_path / "my.ks"}, esp=esp)
    with pytest.raises(BuildError, match="the ESP has no boot menu that is known here"):
        remaster.add_kickstart(bare, tmp_path / "my.ks", tmp_path / "out.iso", syntax="F28")


def test_an_esp_without_room_is_said(tmp_path: Path) -> None:
    # a whole cluster of 2 KiB, and mcopy fills the others with what it is given
    menu = SHORT + "#" * (2047 - len(SHORT)) + "\n"
    source = medium_of(
        tmp_path, BIOS_MENUS["with INITRD"], {"/EFI/BOOT/grub.cfg": menu, "/fill": "x" * (2 << 20)}
    )
    with pytest.raises(
        BuildError, match=r"/EFI/BOOT/grub\.cfg in the ESP of in\.iso cannot be changed: Disk full"
    ):
        added(tmp_path, source)
    assert not (tmp_path / "out.iso").exists()


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, kickstart, target = make_iso(tmp_path), tmp_path / "my.ks", tmp_path / "out.iso"
    kickstart.write_text("text\nnonsense\n")
    with pytest.raises(BadKickstartError, match=r"my\.ks:2: .*nonsense"):
        remaster.add_kickstart(source, kickstart, target, syntax="F28")
    assert not target.exists()
    kickstart.write_text(KICKSTART)
    with pytest.raises(UsageError, match=r"in\.iso exists"):
        remaster.add_kickstart(source, kickstart, source, syntax="F28")
    with pytest.raises(BuildError, match="is not an ISO 9660 image"):
        remaster.add_kickstart(kickstart, kickstart, target, syntax="F28")
    with pytest.raises(UsageError, match=r"there is no directory .*/none$"):
        remaster.add_kickstart(source, kickstart, tmp_path / "none/out.iso", syntax="F28")
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == []
