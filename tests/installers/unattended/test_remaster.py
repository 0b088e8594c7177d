"""An installer ISO becomes an unattended one: menus of every kind get one more entry, everything else stays
as it was.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuild.errors import BuildError, UsageError
from imagebuild.installers.live import menu
from imagebuild.installers.unattended import entry as unattended
from imagebuild.installers.unattended import grub_edit, isolinux_edit, remaster
from imagebuild.kickstart.source import BadKickstartError
from imagebuild.kinds import Firmware
from imagebuild.tools import iso, iso_writer
from imagebuild.tools.menus import grub_menu as grub_reader
from imagebuild.tools.menus import isolinux_menu, medium
from imagebuild.tools.menus.menu import ESP, ISO, Spot, Volume
from tests.golden import check_golden
from tests.installers.unattended.media import LORAX, make_iso, medium_of
from tests.menu_cases import GRUB, Case, entry, label
from tests.menu_cases import ISOLINUX as ISOLINUX_CASES

KICKSTART = "text\nrootpw --lock\nautopart\n"
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


GRUB_SPOT = Spot(volume=ISO, file="/boot/grub2/grub.cfg", line=1)
WANTED = unattended.ask("V")


def volume(files: Mapping[str, str], *, name: str = ISO, label: str = "V") -> Volume:
    return Volume(name=name, label=label, uuid="", read=files.get, has=lambda path: path in files)


def grub_menu(text: str, label: str, *, default: bool) -> str:
    """Return a menu with the entry that `add_kickstart` writes."""
    spot = Spot(volume=ISO, file="/grub.cfg", line=1)
    changed = grub_edit.add_entry(
        [volume({spot.file: text})], spot, Firmware.UEFI, unattended.ask(label), default=default
    )
    return changed.get((ISO, spot.file), text)


@pytest.mark.parametrize("firmware", Firmware)
def test_our_menu_is_as_it_was(firmware: Firmware, request: pytest.FixtureRequest) -> None:
    found = menu.entries("Debian Atomic Host 12", "Debian-12", firmware, "/ks.cfg")
    check_golden(request, f"installer-{firmware}.cfg", menu.grub_menu(found, "Debian-12", timeout=60))


def test_without_a_kickstart_there_is_no_unattended_entry() -> None:
    titles = [entry.title for entry in menu.entries("Host", "V", Firmware.BIOS, None)]
    assert titles == [
        "Install Host",
        "Test this media & install Host",
        "Rescue shell",
        "Boot from local drive",
    ]


@pytest.mark.parametrize(
    ("name", "text", "volume_id"),
    [
        ("remastered-lorax.cfg", LORAX, "Fedora-27"),
        (
            "remastered-ours.cfg",
            menu.grub_menu(menu.entries("Host", "OURS", Firmware.UEFI, None), "OURS", timeout=60),
            "OURS",
        ),
    ],
)
def test_a_grub_menu_gets_an_entry(
    name: str, text: str, volume_id: str, request: pytest.FixtureRequest
) -> None:
    changed = grub_menu(text, volume_id, default=True)
    check_golden(request, name, changed)
    lines = [line for line in changed.split("\n") if "inst.ks=" in line]
    assert lines == [line for line in lines if f"inst.ks=hd:LABEL={volume_id}:/ks.cfg" in line]
    assert len(lines) == 1
    assert "rd.live.check" not in lines[0]
    # every line that was there is there, but default and timeout
    assert [line for line in text.split("\n") if line not in changed.split("\n") and "set " not in line] == []


def test_the_menu_of_isolinux_gets_a_label(request: pytest.FixtureRequest) -> None:
    path = "/isolinux/isolinux.cfg"
    changed = isolinux_edit.add_label(
        volume({path: ISOLINUX}), path, unattended.ask("Fedora-26"), default=True
    )[ISO, path]
    check_golden(request, "remastered-isolinux.cfg", changed)
    assert changed.count("menu default") == 1


# where vesamenu.c32 or a plain prompt begins when nobody presses a key: `menu default`, or the first label
# (syslinux 6.04, doc/menu.txt)
@pytest.mark.parametrize(
    "text",
    [
        ISOLINUX,
        ISOLINUX.replace("  menu default\n", ""),
        ISOLINUX.upper().replace("INITRD=INITRD.IMG", "initrd=initrd.img"),
        "default linux\nprompt 1\nlabel linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n",
        (
            "label linux\n  kernel vmlinuz\n  append initrd=initrd.img quiet\n\nmenu separator\nlabel local\n"
            "  localboot 0xffff\n"
        ),
    ],
)
def test_what_nobody_asked_for_is_neither_the_first_label_nor_the_default(text: str) -> None:
    path = "/isolinux/isolinux.cfg"
    changed = isolinux_edit.add_label(volume({path: text}), path, WANTED, default=False)[ISO, path]
    labels = [line.split()[1] for line in changed.split("\n") if line.lower().startswith("label ")]
    assert "unattended" in labels[1:]
    before, after = text.split("\n"), changed.split("\n")
    # and nothing else has changed
    start = after.index("label unattended")
    assert [line for number, line in enumerate(after) if not start - 1 <= number < start + 4] == before
    body = after[start + 1 : start + 4]
    assert [line.split()[0].lower() for line in body] == ["menu", "kernel", "append"]
    assert "menu default" not in " ".join(body)


def test_a_label_with_blanks_is_written_udevs_way() -> None:
    changed = grub_menu(LORAX, "My Disk", default=False)
    assert "inst.ks=hd:LABEL=My\\x20Disk:/ks.cfg quiet" in changed
    assert 'set default="1"' in changed


def test_an_older_kickstart_in_the_entry_is_replaced() -> None:
    text = LORAX.replace("quiet\n", "inst.ks=http://old/ks.cfg quiet\n", 1)
    changed = grub_menu(text, "V", default=True)
    added = next(line for line in changed.split("\n") if "LABEL=V:/ks.cfg" in line)
    assert "http://old" not in added


def test_an_entry_with_the_kickstart_is_not_made_twice() -> None:
    once = grub_menu(LORAX, "V", default=False)
    twice = grub_menu(once, "V", default=True)
    assert twice.count("inst.ks=") == 1
    assert 'set default="2"' in twice
    ours = menu.grub_menu(menu.entries("Host", "OURS", Firmware.BIOS, "/ks.cfg"), "OURS", timeout=60)
    changed = grub_menu(ours, "OURS", default=True)
    assert changed.count("menuentry ") == ours.count("menuentry ")


def grub_files(case: Case) -> dict[str, str]:
    return {GRUB_SPOT.file: case.text} | {f"/boot/grub2/{name}": text for name, text in case.files.items()}


@pytest.mark.parametrize("default", [True, False], ids=["by itself", "on demand"])
@pytest.mark.parametrize("case", GRUB, ids=lambda case: case.name)
def test_every_grub_menu_gets_an_entry(case: Case, default: bool) -> None:
    files = grub_files(case)
    changed = grub_edit.add_entry([volume(files)], GRUB_SPOT, Firmware.BIOS, WANTED, default=default)
    after = grub_reader.read([volume(files).changed(changed)], GRUB_SPOT.file, Firmware.BIOS)
    found = [entry for _, entry in after.walk() if unattended.has(entry, WANTED)]
    assert found
    there = after.at(after.default)
    assert there is not None
    if default:
        assert unattended.has(there, WANTED)
        assert after.timeout == 10
    else:
        assert (there.title, after.timeout) == (case.booted, case.seconds)


@pytest.mark.parametrize("default", [True, False], ids=["by itself", "on demand"])
@pytest.mark.parametrize("case", ISOLINUX_CASES, ids=lambda case: case.name)
def test_every_isolinux_menu_gets_a_label(case: Case, default: bool) -> None:
    path = "/isolinux/isolinux.cfg"
    files = {path: case.text, **case.files}
    changed = isolinux_edit.add_label(volume(files), path, WANTED, default=default)
    after = isolinux_menu.read(volume(files).changed(changed), path)
    assert after is not None
    there = after.at(after.default)
    assert there is not None
    assert [entry for _, entry in after.walk() if unattended.has(entry, WANTED)]
    if default:
        assert unattended.has(there, WANTED)
        assert after.timeout == min(10, case.seconds or 10) if "totaltimeout" in case.text else 10
        assert after.booted == there
    else:
        assert (there.label, after.timeout) == (case.booted, case.seconds)


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


# --- media of others ----------------------------------------------------------------------------------------

TRAMPOLINE = (
    "search --no-floppy --set=root -l 'TEST-1'\nset prefix=($root)/boot/grub2\nconfigfile $prefix/grub.cfg\n"
)
SHORT = "set default=0\nset timeout=60\n" + entry("Install X 9", name="images/pxeboot/vmlinuz")


def added(
    place: Path, source: Path, text: str = KICKSTART, *, default: bool = True
) -> dict[Firmware, remaster.Seen]:
    (place / "my.ks").write_text(text)
    seen = remaster.add_kickstart(source, place / "my.ks", place / "out.iso", syntax="F28", default=default)
    return {one.firmware: one for one in seen}


LABELS = label("linux", "menu label ^Install X")
BIOS_MENUS = {
    "made of includes": {
        "/isolinux/isolinux.cfg": "default vesamenu.c32\ntimeout 600\ninclude entries.cfg\n",
        "/isolinux/entries.cfg": LABELS,
    },
    "with INITRD": {
        "/isolinux/isolinux.cfg": (
            "UI vesamenu.c32\nTIMEOUT 600\nLABEL install\n LINUX /images/vmlinuz\n INITRD /images/i\n APPEND"
            " inst.repo=cdrom\n"
        )
    },
    "with arguments beside the kernel": {
        "/isolinux/isolinux.cfg": (
            "DEFAULT menu.c32\nTIMEOUT 600\nLABEL install\n KERNEL vmlinuz initrd=initrd.img"
            " inst.ks=http://old/ks.cfg rd.live.check\n"
        )
    },
    "with a global append": {
        "/isolinux/isolinux.cfg": (
            "UI menu.c32\nAPPEND initrd=i inst.ks=http://old/ks.cfg quiet\nLABEL install\n KERNEL vmlinuz\n"
        )
    },
    "in /syslinux": {"/syslinux/syslinux.cfg": "ui menu.c32\ntimeout 600\n" + LABELS},
    "in /boot/isolinux, beside another": {
        "/boot/isolinux/isolinux.cfg": "ui menu.c32\n" + LABELS,
        "/isolinux/isolinux.cfg": "default nobody-reads-this\n",
    },
    "in /boot/syslinux, by a path": {
        "/boot/syslinux/syslinux.cfg": "include /menus/all.cfg\n",
        "/menus/all.cfg": "ui menu.c32\n" + LABELS,
    },
    "without a menu": {"/isolinux/isolinux.cfg": "default linux\ntimeout 600\n" + LABELS},
    "with a prompt": {
        "/isolinux/isolinux.cfg": (
            "default linux\nprompt 1\ntimeout 600\nontimeout local\n"
            + LABELS
            + "label local\n localboot 0x80\n"
        )
    },
    "in a submenu only": {
        "/isolinux/isolinux.cfg": (
            "ui menu.c32\nlabel local\n  localboot 0x80\nmenu begin Install\n" + LABELS + "menu end\n"
        )
    },
    "in another configuration": {
        "/isolinux/isolinux.cfg": "default go\nlabel go\n  config /other/menu.cfg\n",
        "/other/menu.cfg": "ui menu.c32\n" + LABELS,
    },
}


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
