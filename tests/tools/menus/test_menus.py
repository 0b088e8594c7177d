"""Boot menus are read as their loaders read them: what is booted by itself, what a key chooses, where it is
written.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools import iso
from imagebuild.tools.menus import grub_menu, grub_script, isolinux_menu, medium
from imagebuild.tools.menus.menu import ESP, ISO, BootVolume, Menu, MenuLoader
from tests.installers.unattended.media import make_iso, medium_of
from tests.isolinux_cases import ISOLINUX, MENU, label
from tests.menu_cases import GRUB, A, B, Case, entry

GRUB_PLACE, ISOLINUX_PLACE = "/boot/grub2/", "/isolinux/isolinux.cfg"


def volume(files: Mapping[str, str], *, name: str = ISO, label: str = "V", uuid: str = "") -> BootVolume:
    return BootVolume(name=name, label=label, uuid=uuid, read=files.get, has=lambda path: path in files)


def grub(text: str, files: Mapping[str, str] | None = None, firmware: Firmware = Firmware.BIOS) -> Menu:
    more = {GRUB_PLACE + name: content for name, content in (files or {}).items()}
    return grub_menu.read(
        [volume({f"{GRUB_PLACE}grub.cfg": text, **more})], f"{GRUB_PLACE}grub.cfg", firmware
    )


def isolinux(text: str, files: Mapping[str, str] | None = None) -> Menu:
    found = isolinux_menu.read(volume({ISOLINUX_PLACE: text, **(files or {})}))
    assert found is not None
    return found


@pytest.mark.parametrize("case", GRUB, ids=lambda case: case.name)
def test_grub_boots_by_itself(case: Case) -> None:
    menu = grub(case.text, case.files)
    there = menu.at(menu.default)
    assert there is not None
    assert (there.title, there.initrds != (), menu.timeout) == (case.booted, True, case.seconds)
    assert (menu.booted is None) == (case.seconds is None)


@pytest.mark.parametrize("case", ISOLINUX, ids=lambda case: case.name)
def test_isolinux_boots_by_itself(case: Case) -> None:
    menu = isolinux(case.text, case.files)
    there = menu.at(menu.default)
    assert there is not None
    assert (there.label, menu.timeout) == (case.booted, case.seconds)
    assert there.initrds != ()
    assert (menu.booted is None) == (case.seconds is None)


@pytest.mark.parametrize(
    "text",
    [
        "function f {\nf\n}\nf\n" + A,
        "while true; do\na=1\ndone\n" + A,
        "a=xxxxxxxxxxxxxxxx\n" + "a=$a$a\n" * 100 + A,
        "source $prefix/grub.cfg\n" + A,
        "configfile $prefix/grub.cfg\n" + A,
        "line='eval $line'\neval $line\n" + A,
    ],
    ids=["function", "loop", "value", "source", "configfile", "eval"],
)
def test_a_grub_menu_without_end_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="GRUB"):
        grub(text)


def test_what_is_nested_too_deep_is_left_out_as_if_grub_could_not_read_it() -> None:
    menu = grub("submenu 'S' {\n" * 200 + "}\n" * 200 + A)
    assert "cannot be parsed" in menu.unsure[0]


@pytest.mark.parametrize(
    "text", ["include isolinux.cfg\n", "default x\nlabel x\n  config isolinux.cfg\n", "menu begin a\n" * 100]
)
def test_an_isolinux_menu_without_end_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="isolinux"):
        isolinux(text)


def test_an_entry_that_leads_back_is_no_menu_without_end() -> None:
    menu = grub(f"timeout=5\n{A}menuentry 'Back' {{\nconfigfile $prefix/grub.cfg\n}}\n")
    assert [title.title for _, title in menu.walk()] == ["A", "Back"]
    assert menu.booted is not None
    assert menu.booted.title == "A"


# --- entries ------------------------------------------------------------------------------------------------


def test_an_entry_of_grub_is_what_it_boots() -> None:
    menu = grub(
        'set number=9\nfunction load {\n\tlinux16 $1 $2 quiet\n}\nmenuentry "Install $number" --hotkey=i'
        ' {\n\tset args="inst.stage2=hd:LABEL=My\\\\x20Disk inst.text"\n\tload /images/vmlinuz'
        " $args\n\tinitrd16 /a.img /b.img\n}\nmenuentry Local --hotkey f9 {\nexit\n}\n"
    )
    first, second = menu.entries
    assert (first.title, first.key, first.kernel) == ("Install 9", "i", "/images/vmlinuz")
    assert first.initrds == ("/a.img", "/b.img")
    assert first.arguments == ("inst.stage2=hd:LABEL=My\\x20Disk", "quiet")
    assert (str(first.spot), first.at_once) == ("/boot/grub2/grub.cfg:5", True)
    assert (second.title, second.key, second.kernel) == ("Local", "f9", "")


@pytest.mark.parametrize(("firmware", "title"), [(Firmware.BIOS, "pc"), (Firmware.UEFI, "efi")])
def test_an_entry_may_be_of_one_firmware(firmware: Firmware, title: str) -> None:
    text = f'if [ "$grub_platform" = efi ]; then\n{entry("efi")}else\n{entry("pc")}fi\n'
    assert [found.title for found in grub(text, firmware=firmware).entries] == [title]


@pytest.mark.parametrize(
    ("lines", "kernel", "initrds", "arguments"),
    [
        (
            "kernel vmlinuz\n append initrd=initrd.img quiet",
            "/isolinux/vmlinuz",
            ("/isolinux/initrd.img",),
            ("quiet",),
        ),
        ("linux /k\n initrd /i\n append quiet", "/k", ("/i",), ("quiet",)),
        ("KERNEL /k initrd=/i,../j inst.text\nAPPEND quiet", "/k", ("/i", "/j"), ("inst.text", "quiet")),
        ("linux /k\ninitrd /i", "/k", ("/i",), ("of", "all")),
        ("linux /k\ninitrd /i\nappend -", "/k", ("/i",), ()),
        ("append initrd=i quiet", "/isolinux/it", ("/isolinux/i",), ("quiet",)),
        ("localboot 0xffff", "", (), ()),
        ("kernel hdt.c32", "", (), ()),
        ("menu goto other", "", (), ()),
    ],
)
def test_a_label_of_isolinux_is_what_it_boots(
    lines: str, kernel: str, initrds: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    menu = isolinux(f"{MENU}append of all\nlabel it\n {lines}\n")
    (found,) = menu.entries
    assert (found.kernel, found.initrds, found.arguments) == (kernel, initrds, arguments)


def test_keys_of_isolinux_only_move_the_cursor() -> None:
    text = (
        MENU
        + label("a", "menu label ^Install")
        + label("b", "menu label Install ^unattended")
        + label("c", "menu label ^Update")
    )
    assert [(found.title, found.key, found.at_once) for found in isolinux(text).entries] == [
        ("Install", "i", False), ("Install unattended", "u", False), ("Update", "", False),
    ]  # fmt: skip
    assert all(found.at_once for found in isolinux("menu immediate\n" + text).entries)


def test_lines_that_cannot_be_chosen_are_no_entries() -> None:
    text = (
        f"{MENU}menu separator\n{label('a')}menu separator\n{label('b', 'menu disable')}menu begin"
        f" ^More\nmenu title Others\n{label('c')}menu end\n"
    )
    menu = isolinux(text)
    assert [(way, found.title, found.submenu) for way, found in menu.walk()] == [
        ((0,), "a", False),
        ((1,), "Others", True),
        ((1, 0), "c", False),
    ]


def test_at_the_prompt_every_label_can_be_typed() -> None:
    menu = isolinux(f"default a\nprompt 1\n{label('a')}menu begin More\n{label('b')}menu end\n")
    assert menu.prompt
    assert [found.label for found in menu.entries] == ["a", "b"]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("/isolinux/isolinux.cfg", "/boot/isolinux/isolinux.cfg"), "/boot/isolinux/isolinux.cfg"),
        (("/isolinux/isolinux.cfg", "/isolinux/syslinux.cfg"), "/isolinux/isolinux.cfg"),
        (("/isolinux/syslinux.cfg", "/syslinux/isolinux.cfg"), "/isolinux/syslinux.cfg"),
        (("/boot/syslinux/syslinux.cfg", "/syslinux/syslinux.cfg"), "/boot/syslinux/syslinux.cfg"),
        (("/syslinux/syslinux.cfg", "/syslinux.cfg"), "/syslinux/syslinux.cfg"),
        (("/isolinux.cfg",), "/isolinux.cfg"),
    ],
)
def test_isolinux_looks_where_it_looks(files: tuple[str, ...], found: str) -> None:
    """core/fs/iso9660/iso9660.c of syslinux 6.04, `search_directories`."""
    assert isolinux_menu.configuration(volume(dict.fromkeys(files, ""))) == found


# --- volumes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        "search --no-floppy --set=root -l 'V'\nset prefix=($root)/boot/grub2\nconfigfile $prefix/grub.cfg",
        'search -l "V" --set root\nconfigfile ($root)/boot/grub2/grub.cfg',
        "search --label --set=dev V\nconfigfile ($dev)/boot/grub2/grub.cfg",
        "search.fs_label V root\nsource /boot/grub2/grub.cfg",
        "search -f /images/pxeboot/vmlinuz -s root\n. /boot/grub2/grub.cfg",
        "search --file --set=root /images/pxeboot/vmlinuz\nset prefix=($root)/boot/grub2\nnormal",
        "search --set=root --fs-uuid 2026-01-02-03-04-05-00 --hint cd0\nnormal ($root)/boot/grub2/grub.cfg",
        "search.fs_uuid 2026-01-02-03-04-05-00 root\nset root=($root)\nconfigfile /boot/grub2/grub.cfg",
        "configfile (cd0)/boot/grub2/../grub2//grub.cfg",
        (
            "if search --set=x -l NONE; then configfile ($x)/a; else search -nls root V; fi\nconfigfile"
            " ($root)/boot/grub2/grub.cfg"
        ),
    ],
)
def test_a_trampoline_in_the_esp_is_followed(lines: str) -> None:
    cd = volume(
        {"/boot/grub2/grub.cfg": f"default=1\ntimeout=5\n{A}{B}", "/images/pxeboot/vmlinuz": ""},
        uuid="2026-01-02-03-04-05-00",
    )
    esp = volume({"/EFI/BOOT/grub.cfg": lines + "\n"}, name=ESP, label="ESP")
    menu = grub_menu.read([esp, cd], "/EFI/BOOT/grub.cfg", Firmware.UEFI)
    assert menu.booted is not None
    assert (menu.booted.title, str(menu.booted.spot)) == ("B", "/boot/grub2/grub.cfg:7")
    assert [str(spot) for spot in menu.files] == ["the ESP, /EFI/BOOT/grub.cfg:1", "/boot/grub2/grub.cfg:1"]


@pytest.mark.parametrize(
    "lines",
    ["set root=cd0\nconfigfile boot/grub2/grub.cfg", "source (cd0)boot/grub2/grub.cfg", "configfile (cd0)"],
)
def test_a_name_without_a_slash_is_a_list_of_blocks_and_no_menu(lines: str) -> None:
    """rhboot's GRUB 2.12, grub-core/kern/file.c, `grub_file_open`."""
    cd = volume({"/boot/grub2/grub.cfg": f"default=1\ntimeout=5\n{A}{B}"})
    menu = grub_menu.read(
        [volume({"/EFI/BOOT/grub.cfg": lines + "\n"}, name=ESP), cd], "/EFI/BOOT/grub.cfg", Firmware.UEFI
    )
    assert menu.entries == ()
    assert "which is not on the medium" in menu.unsure[0]


@pytest.mark.parametrize(("program", "booted"), [("BOOTX64.EFI", "A"), ("BOOTAA64.EFI", "B"), ("", "A")])
def test_a_menu_may_ask_for_the_processor(program: str, booted: str) -> None:
    text = f'if [ "$grub_cpu" = arm64 ]; then default=1; fi\ntimeout=5\n{A}{B}'
    files = {"/EFI/BOOT/grub.cfg": text, f"/EFI/BOOT/{program}": ""}
    menu = grub_menu.read([volume(files, name=ESP)], "/EFI/BOOT/grub.cfg", Firmware.UEFI)
    assert menu.booted is not None
    assert menu.booted.title == booted


def test_what_is_searched_for_and_not_there_is_said() -> None:
    menu = grub(f"search --set=root -l OTHER\n{A}")
    assert menu.unsure == ("/boot/grub2/grub.cfg:1 searches for 'OTHER', which is nowhere on the medium",)


@pytest.mark.parametrize("appended", [True, False], ids=["appended ESP", "ESP as a file"])
def test_the_menus_of_a_medium_are_those_that_firmware_reads(tmp_path: Path, appended: bool) -> None:
    image = make_iso(tmp_path, appended=appended)
    found = medium.menus(image, tmp_path)
    assert {firmware: str(menu.spot) for firmware, menu in found.items()} == {
        Firmware.BIOS: "/boot/grub2/grub.cfg:1", Firmware.UEFI: "the ESP, /EFI/BOOT/grub.cfg:1",
    }  # fmt: skip
    for menu in found.values():
        assert menu.booted is not None
        assert (menu.booted.title, menu.timeout, menu.loader) == (
            "Test this media & install Fedora 27",
            60,
            MenuLoader.GRUB,
        )


@pytest.mark.parametrize(
    "path", ["/EFI/BOOT/grub.cfg", "/efi/boot/Grub.cfg", "/EFI/debian/grub.cfg", "/boot/grub/grub.cfg"]
)
def test_the_esps_menu_is_where_grub_looks(tmp_path: Path, path: str) -> None:
    image = medium_of(tmp_path, {"/boot/grub2/grub.cfg": A}, {path: A + B}, bios="images/eltorito.img")
    menu = medium.menus(image, tmp_path)[Firmware.UEFI]
    assert [found.title for found in menu.entries] == ["A", "B"]


def test_an_esp_that_is_no_file_system_is_said(tmp_path: Path) -> None:
    image = medium_of(
        tmp_path, {"/boot/grub2/grub.cfg": A}, {"/EFI/BOOT/grub.cfg": A}, bios="images/eltorito.img"
    )
    with image.open("r+b") as stream:
        stream.seek(iso.content(image).files["/images/efiboot.img"].start)
        stream.write(bytes(65536))
    with pytest.raises(BuildError, match="the ESP has no boot menu"):
        medium.menus(image, tmp_path)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("menuentry 'A' {\nlinux /k\n}\nif true; then\na=1\nfi\n", ()),
        ("a='b\n", (1,)),
        ("x=1\nmenuentry A {\n", (2,)),
        ("if true\n", (2,)),
        ("a ${b\n", (1,)),
        ("}\n", (1,)),
        ("x & y\n", (1,)),
        ("a='b\nc' d\n", ()),
    ],
)
def test_grub_complains_of_the_same(text: str, lines: tuple[int, ...]) -> None:
    """grub-script-check of GRUB 2.06, which is its parser, takes and refuses the same texts."""
    assert grub_script.parse(text).complaints == lines
