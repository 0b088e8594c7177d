"""An installer ISO becomes an unattended one: menus of every kind get one more entry, everything else stays as it was."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuild.deploy.kickstart import BadKickstartError
from imagebuild.errors import BuildError, UsageError
from imagebuild.installers import menu, remaster
from imagebuild.kinds import Firmware
from imagebuild.tools import iso
from tests.golden import check_golden

KICKSTART = "text\nrootpw --lock\nautopart\n"
# the shape of what lorax writes (entries and arguments of its x86 templates)
LORAX = """set default="1"

function load_video {
  insmod all_video
}

set timeout=60
### BEGIN /etc/grub.d/00_header ###
search --no-floppy --set=root -l 'Fedora-27'

### BEGIN /etc/grub.d/10_linux ###
menuentry 'Install Fedora 27' --class fedora --class gnu-linux {
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 quiet
	initrdefi /images/pxeboot/initrd.img
}
menuentry 'Test this media & install Fedora 27' --class fedora --class gnu-linux {
	linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 rd.live.check quiet
	initrdefi /images/pxeboot/initrd.img
}
submenu 'Troubleshooting -->' {
	menuentry 'Rescue a Fedora system' --class fedora {
		linuxefi /images/pxeboot/vmlinuz inst.stage2=hd:LABEL=Fedora-27 inst.rescue quiet
		initrdefi /images/pxeboot/initrd.img
	}
}
"""
ISOLINUX = """default vesamenu.c32
timeout 600

label linux
  menu label ^Install Fedora 26
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=Fedora-26 quiet

label check
  menu label Test this ^media & install Fedora 26
  menu default
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=Fedora-26 rd.live.check quiet

menu begin ^Troubleshooting
label rescue
  append initrd=initrd.img inst.stage2=hd:LABEL=Fedora-26 inst.rescue quiet
menu end
"""


@pytest.mark.parametrize("firmware", Firmware)
def test_our_menu_is_as_it_was(firmware: Firmware, request: pytest.FixtureRequest) -> None:
    found = menu.entries("Debian Atomic Host 12", "Debian-12", firmware, "/ks.cfg")
    check_golden(request, f"installer-{firmware}.cfg", menu.grub_menu(found, "Debian-12", timeout=60))


def test_without_a_kickstart_there_is_no_unattended_entry() -> None:
    titles = [entry.title for entry in menu.entries("Host", "V", Firmware.BIOS, None)]
    assert titles == ["Install Host", "Test this media & install Host", "Rescue shell", "Boot from local drive"]


@pytest.mark.parametrize(
    ("name", "text", "volume"),
    [
        ("remastered-lorax.cfg", LORAX, "Fedora-27"),
        ("remastered-ours.cfg", menu.grub_menu(menu.entries("Host", "OURS", Firmware.UEFI, None), "OURS", timeout=60), "OURS"),
    ],
)
def test_a_grub_menu_gets_an_entry(name: str, text: str, volume: str, request: pytest.FixtureRequest) -> None:
    changed = remaster.grub_menu(text, volume, default=True)
    assert changed is not None
    check_golden(request, name, changed)
    lines = [line for line in changed.split("\n") if "inst.ks=" in line]
    assert lines == [line for line in lines if f"inst.ks=hd:LABEL={volume}:/ks.cfg" in line]
    assert len(lines) == 1
    assert "rd.live.check" not in lines[0]
    # every line that was there is there, but default and timeout
    assert [line for line in text.split("\n") if line not in changed.split("\n") and "set " not in line] == []


def test_the_menu_of_isolinux_gets_a_label(request: pytest.FixtureRequest) -> None:
    changed = remaster.isolinux_menu(ISOLINUX, "Fedora-26", default=True)
    assert changed is not None
    check_golden(request, "remastered-isolinux.cfg", changed)
    assert changed.count("menu default") == 1


# where vesamenu.c32 or a plain prompt begins when nobody presses a key: `menu default`, or the first label (syslinux 6.03, doc/menu.txt)
@pytest.mark.parametrize(
    "text",
    [
        ISOLINUX,
        ISOLINUX.replace("  menu default\n", ""),
        ISOLINUX.upper().replace("INITRD=INITRD.IMG", "initrd=initrd.img"),
        "default linux\nprompt 1\nlabel linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n",
        "label linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n\nmenu separator\nlabel local\n  localboot 0xffff\n",
    ],
)
def test_what_nobody_asked_for_is_neither_the_first_label_nor_the_default(text: str) -> None:
    changed = remaster.isolinux_menu(text, "V", default=False)
    assert changed is not None
    labels = [line.split()[1] for line in changed.split("\n") if line.lower().startswith("label ")]
    assert labels[1] == "unattended"
    before, after = text.split("\n"), changed.split("\n")
    # and nothing else has changed
    start = after.index("label unattended")
    assert [line for number, line in enumerate(after) if not start - 1 <= number < start + 4] == before
    body = after[start + 1 : start + 4]
    assert [line.split()[0].lower() for line in body] == ["menu", "kernel", "append"]
    assert "menu default" not in " ".join(body)


def test_a_label_with_blanks_is_written_udevs_way() -> None:
    changed = remaster.grub_menu(LORAX, "My Disk", default=False)
    assert changed is not None
    assert "inst.ks=hd:LABEL=My\\x20Disk:/ks.cfg quiet" in changed
    assert 'set default="1"' in changed


def test_an_older_kickstart_in_the_entry_is_replaced() -> None:
    text = LORAX.replace("quiet\n", "inst.ks=http://old/ks.cfg quiet\n", 1)
    changed = remaster.grub_menu(text, "V", default=True)
    assert changed is not None
    added = next(line for line in changed.split("\n") if "LABEL=V:/ks.cfg" in line)
    assert "http://old" not in added


def test_an_entry_with_the_kickstart_is_not_made_twice() -> None:
    once = remaster.grub_menu(LORAX, "V", default=False)
    assert once is not None
    twice = remaster.grub_menu(once, "V", default=True)
    assert twice is not None
    assert twice.count("inst.ks=") == 1
    assert 'set default="2"' in twice
    ours = menu.grub_menu(menu.entries("Host", "OURS", Firmware.BIOS, "/ks.cfg"), "OURS", timeout=60)
    changed = remaster.grub_menu(ours, "OURS", default=True)
    assert changed is not None
    assert changed.count("menuentry ") == ours.count("menuentry ")


def make_iso(place: Path, *, appended: bool = True, label: str = "Fedora-27", more: Mapping[str, Path] | None = None) -> Path:
    """Write an ISO with the boot equipment of lorax's: GRUB for BIOS, an ESP (appended, or a file), both menus."""
    files = place / "files"
    (files / "boot/grub2").mkdir(parents=True)
    (files / "EFI/BOOT").mkdir(parents=True)
    (files / "images/pxeboot").mkdir(parents=True)
    (files / "boot/grub2/grub.cfg").write_text(LORAX.replace("efi ", " "))
    (files / "EFI/BOOT/grub.cfg").write_text(LORAX)
    (files / "images/pxeboot/vmlinuz").write_bytes(b"kernel" * 100000)
    (files / "images/eltorito.img").write_bytes(b"\0" * 4096)
    esp = place / "esp.img"
    esp.write_bytes(b"")
    subprocess.run(["truncate", "-s", "4M", esp], check=True)
    subprocess.run(["mkfs.vfat", "-F", "12", esp], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run(["mcopy", "-i", esp, files / "EFI/BOOT/grub.cfg", "::/EFI/BOOT/grub.cfg"], check=True)
    target = place / "in.iso"
    if appended:
        (files / "images/pxeboot/initrd.img").write_bytes(b"initrd")
        (files / ".discinfo").write_text("1.0\n27\nx86_64\n")
        paths = {**(more or {})} | {path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()}
        mbr = place / "mbr.img"
        mbr.write_bytes(b"\0" * 512)
        iso.write(
            target,
            paths,
            volume="Fedora-27",
            bios="images/eltorito.img",
            esp=esp,
            mbr=mbr,
            epoch=1,
            serial="0" * 8 + "-0000-4000-8000-" + "0" * 12,
        )
    else:
        (files / "images/efiboot.img").write_bytes(esp.read_bytes())
        subprocess.run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-o", target, "-R", "-J", "-V", "Fedora-27", "-b", "images/eltorito.img", "-no-emul-boot", "-boot-load-size",
             "4", "-boot-info-table", "-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot", files],
            check=True, capture_output=True,
        )  # fmt: skip
    iso.implant_md5(target)
    return target


def esp_menu(image: Path, work: Path) -> str:
    """Return the menu that UEFI reads: the one in the ESP that El Torito names."""
    said = subprocess.run(["xorriso", "-indev", image, "-report_el_torito", "plain"], capture_output=True, text=True, check=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("El Torito boot img") and "UEFI" in line)
    start = int(line.split()[-1]) * 2048
    esp = work / "read-esp.img"
    esp.write_bytes(image.read_bytes()[start : start + (4 << 20)])
    return subprocess.run(["mtype", "-i", esp, "::/EFI/BOOT/grub.cfg"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("appended", [True, False], ids=["appended ESP", "ESP as a file"])
def test_an_iso_becomes_an_unattended_one(tmp_path: Path, appended: bool) -> None:
    source, kickstart, target = make_iso(tmp_path, appended=appended), tmp_path / "my.ks", tmp_path / "out.iso"
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


def test_a_link_in_somebody_elses_image_is_not_followed(tmp_path: Path) -> None:
    """A boot menu that is a link to a file of the build host: its mode and content stay what they are."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    source = make_iso(tmp_path)
    (tmp_path / "link").symlink_to(secret)
    hostile = tmp_path / "hostile.iso"
    subprocess.run(
        ["xorriso", "-indev", source, "-outdev", hostile, "-boot_image", "any", "replay", "-rm", "/boot/grub2/grub.cfg", "--", "-map", tmp_path / "link", "/boot/grub2/grub.cfg"],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "my.ks").write_text(KICKSTART)
    with pytest.raises(BuildError, match=r"/boot/grub2/grub\.cfg of hostile\.iso is a symbolic link"):
        remaster.add_kickstart(hostile, tmp_path / "my.ks", tmp_path / "out.iso", syntax="F28")
    with pytest.raises(BuildError, match="is a symbolic link"):
        iso.read(hostile, "/boot/grub2/grub.cfg", tmp_path)
    assert secret.stat().st_mode & 0o777 == 0o600


def test_an_esp_without_a_menu_is_said(tmp_path: Path) -> None:
    source = make_iso(tmp_path)
    esp = remaster.appended_esp(source, tmp_path)
    assert esp is not None
    subprocess.run(["mdel", "-i", esp, "::/EFI/BOOT/grub.cfg"], check=True)
    bare = tmp_path / "bare.iso"
    (tmp_path / "my.ks").write_text(KICKSTART)
    iso.remaster(source, bare, changed={}, added={"/something": tmp_path / "my.ks"}, esp=esp)
    with pytest.raises(BuildError, match="the ESP has no boot menu that is known here"):
        remaster.add_kickstart(bare, tmp_path / "my.ks", tmp_path / "out.iso", syntax="F28")


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    source, kickstart, target = make_iso(tmp_path), tmp_path / "my.ks", tmp_path / "out.iso"
    kickstart.write_text("text\nnonsense\n")
    with pytest.raises(BadKickstartError, match=r"my\.ks:2: .*nonsense"):
        remaster.add_kickstart(source, kickstart, target, syntax="F28")
    assert not target.exists()
    kickstart.write_text(KICKSTART)
    with pytest.raises(UsageError, match=r"in\.iso exists"):
        remaster.add_kickstart(source, kickstart, source, syntax="F28")
    with pytest.raises(BuildError, match="is no ISO 9660 image"):
        remaster.add_kickstart(kickstart, kickstart, target, syntax="F28")
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == []
