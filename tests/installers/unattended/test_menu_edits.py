"""Menus of every kind get one more entry, everything else stays as it was."""

import pytest

from imagebuild.installers.live import menu
from imagebuild.installers.unattended import entry as unattended
from imagebuild.installers.unattended import grub_edit, isolinux_edit
from imagebuild.kinds import Firmware
from imagebuild.tools.menus import grub_menu as grub_reader
from imagebuild.tools.menus import isolinux_menu
from imagebuild.tools.menus.menu import ISO, Spot
from tests.golden import check_golden
from tests.installers.unattended.media import GRUB_SPOT, LORAX, WANTED, volume
from tests.isolinux_cases import ISOLINUX as ISOLINUX_CASES
from tests.menu_cases import GRUB, Case

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


def grub_menu(text: str, label: str, *, default: bool) -> str:
    """Return a menu with the entry that `add_kickstart` writes."""
    spot = Spot(volume=ISO, file="/grub.cfg", line=1)
    changed = grub_edit.add_entry(
        [volume({spot.file: text})], spot, Firmware.UEFI, unattended.ask(label), default=default
    )
    return changed.get((ISO, spot.file), text)


@pytest.mark.parametrize("firmware", [Firmware.BIOS, Firmware.UEFI])
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
