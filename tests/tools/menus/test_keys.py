"""Which keys start the unattended entry of a medium: from its menu, never guessed."""

import pytest

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools.menus import grub_menu, isolinux_menu
from imagebuild.tools.menus import keys as menu_keys
from imagebuild.tools.menus.keys import KeyPresses
from imagebuild.tools.menus.menu import BootVolume, Menu, MenuEntry, MenuLoader, Spot
from tests.vm import lorax_medium

SPOT = Spot(volume="cd0", file="/menu", line=7)
OURS = ("inst.stage2=hd:LABEL=Demo-26", "inst.ks=hd:LABEL=Demo-26:/ks.cfg", "quiet")


def entry(
    title: str,
    *arguments: str,
    key: str = "",
    at_once: bool = False,
    label: str = "",
    inside: tuple[MenuEntry, ...] = (),
) -> MenuEntry:
    return MenuEntry(
        title=title,
        label=label,
        key=key,
        at_once=at_once,
        kernel="vmlinuz" if arguments else "",
        arguments=arguments,
        entries=inside,
        submenu=bool(inside),
        spot=SPOT,
    )


INSTALL = entry("Install Demo 26", "quiet", key="i")
CHECK = entry("Test this media & install Demo 26", "rd.live.check", key="m")
TROUBLE = entry(
    "Troubleshooting",
    key="t",
    inside=(entry("Rescue", "rescue", key="r"), entry("Return to main menu", key="m")),
)


def isolinux(
    *entries: MenuEntry, timeout: float | None = 60, prompt: bool = False, unsure: tuple[str, ...] = ()
) -> Menu:
    return Menu(
        loader=MenuLoader.ISOLINUX,
        spot=SPOT,
        entries=entries,
        default=(1,) if len(entries) > 1 else (0,),
        timeout=timeout,
        prompt=prompt,
        unsure=unsure,
    )


def grub(*entries: MenuEntry, timeout: float | None = 60, unsure: tuple[str, ...] = ()) -> Menu:
    return Menu(
        loader=MenuLoader.GRUB,
        spot=SPOT,
        entries=entries,
        default=(1,) if len(entries) > 1 else (0,),
        timeout=timeout,
        unsure=unsure,
    )


def unattended(
    key: str = "", *, at_once: bool = False, label: str = "", title: str = "Install unattended"
) -> MenuEntry:
    return entry(title, *OURS, key=key, at_once=at_once, label=label)


@pytest.mark.parametrize(
    ("menu", "keys", "typed"),
    [
        # syslinux 6.04, doc/menu.txt: a hot key moves there; with MENU IMMEDIATE it starts it
        (isolinux(INSTALL, CHECK, unattended("u"), TROUBLE), "home u ret", ""),
        (isolinux(INSTALL, CHECK, unattended("u", at_once=True)), "home u", ""),
        # com32/menu/readconfig.c, consider_for_hotkey: the first entry that has it keeps it
        (isolinux(INSTALL, CHECK, unattended("i")), "home home down down ret", ""),
        (isolinux(unattended("i"), CHECK, INSTALL), "home i ret", ""),
        (isolinux(INSTALL, CHECK, unattended()), "home home down down ret", ""),
        (isolinux(unattended(), CHECK), "home home ret", ""),
        # a hidden menu (the same keys: the first one brings it up), and one that waits for ever
        (isolinux(INSTALL, CHECK, unattended(), timeout=None), "home home down down ret", ""),
        # in a submenu: opened by its own hot key, or by the cursor
        (
            isolinux(INSTALL, entry("More", key="o", inside=(INSTALL, unattended("u")))),
            "home o ret u ret",
            "",
        ),
        (
            isolinux(INSTALL, entry("More", inside=(INSTALL, unattended()))),
            "home home down ret home down ret",
            "",
        ),
        # no menu, but a prompt
        (isolinux(INSTALL, unattended(label="ks-1"), prompt=True), "k s minus 1 ret", ""),
        (isolinux(INSTALL, unattended(label="Ks_1.x"), prompt=True), "shift-k s shift-minus 1 dot x ret", ""),
        # GRUB 2.06, grub-core/normal/menu.c: a hot key starts the entry
        (grub(INSTALL, CHECK, unattended("u", at_once=True)), "u", "u"),
        (grub(INSTALL, CHECK, unattended("f4", at_once=True)), "f4", ""),
        (grub(INSTALL, CHECK, unattended("backspace", at_once=True)), "backspace", ""),
        (grub(INSTALL, CHECK, unattended()), "home down down ret", ""),
        (grub(INSTALL, CHECK, unattended("é", at_once=True)), "home down down ret", ""),
        (
            grub(
                INSTALL, entry("More", key="m", at_once=True, inside=(CHECK, unattended("u", at_once=True)))
            ),
            "m u",
            "",
        ),
        (grub(INSTALL, entry("More", inside=(CHECK, unattended()))), "home down ret home down ret", ""),
        # nothing is shown, and it is started by itself
        (isolinux(unattended("u"), timeout=0), "", ""),
        (grub(INSTALL, unattended(), timeout=0), "", ""),
        # what cannot be known about a menu does not matter where a hot key is
        (grub(INSTALL, unattended("u", at_once=True), unsure=("line 3 depends on the machine",)), "u", "u"),
    ],
)
def test_the_keys_follow_from_the_menu(menu: Menu, keys: str, typed: str) -> None:
    plan = menu_keys.unattended(menu, "Demo-26")
    assert (" ".join(plan.keys), plan.typed) == (keys, typed)
    assert plan.title.startswith("Install unattended")


@pytest.mark.parametrize(
    ("entries", "title"),
    [
        # mkksiso (lorax 39, src/bin/mkksiso) gives the kickstart to every entry: the plain one is taken
        (
            (
                entry("check", *OURS, "rd.live.check"),
                entry("vga", *OURS, "nomodeset"),
                entry("install", *OURS),
            ),
            "install",
        ),
        (
            (
                entry("rescue", *OURS, "inst.rescue"),
                entry("old rescue", *OURS, "rescue"),
                entry("check", *OURS, "rd.live.check"),
            ),
            "check",
        ),
        # the medium's own kickstart before one from elsewhere, and Anaconda's older option
        ((entry("net", "inst.ks=http://192.0.2.1/a.ks"), entry("own", *OURS)), "own"),
        ((entry("net", "ks=http://192.0.2.1/a.ks"), entry("none", "quiet")), "net"),
        # what is said last counts (Anaconda 29.24.7, data: the last inst.ks=)
        (
            (
                entry("none", "inst.ks.sendmac"),
                entry("twice", "inst.ks=http://192.0.2.1/a.ks", "inst.ks=hd:LABEL=Demo-26:/ks.cfg"),
            ),
            "twice",
        ),
    ],
)
def test_the_unattended_entry_is_the_one_with_the_mediums_own_kickstart(
    entries: tuple[MenuEntry, ...], title: str
) -> None:
    assert menu_keys.unattended(grub(*entries), "Demo-26").title == title


def test_a_label_with_blanks_is_written_as_udev_does() -> None:
    entries = (
        entry("net", "inst.ks=http://192.0.2.1/a.ks"),
        entry("own", r"inst.ks=hd:LABEL=A\x20B:/ks.cfg"),
    )
    assert menu_keys.unattended(grub(*entries), "A B").title == "own"


@pytest.mark.parametrize(
    ("menu", "message"),
    [
        (grub(INSTALL, CHECK), "no entry of the boot menu /menu:7 asks for a kickstart"),
        (grub(entry("rescue", "inst.ks=hd:LABEL=Demo-26:/ks.cfg", "inst.rescue")), "asks for a kickstart"),
        (
            grub(entry("a", "inst.ks=http://192.0.2.1/a"), entry("b", "inst.ks=http://192.0.2.1/b")),
            "different kickstarts: http://192.0.2.1/a",
        ),
        (
            grub(INSTALL, unattended(), unsure=("an `if` of line 3 depends on the machine",)),
            "where 'Install unattended' is in .*line 3",
        ),
        (
            isolinux(INSTALL, CHECK, unattended("u"), timeout=0),
            "is not shown: another entry is started at once",
        ),
        (isolinux(INSTALL, unattended(label="ä"), prompt=True), "the label 'ä' of /menu:7 cannot be typed"),
    ],
)
def test_what_cannot_be_known_is_not_guessed(menu: Menu, message: str) -> None:
    with pytest.raises(BuildError, match=message) as caught:
        menu_keys.unattended(menu, "Demo-26")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("  *Install Demo 26            \n   Test this media & install Demo 26", True),
        ("  Install a very long product na", True),
        ("Booting from DVD/CD...\nISOLINUX 6.04", False),
        ("linux", False),
        ("", False),
    ],
)
def test_a_menu_is_recognised_by_its_own_titles(text: str, seen: bool) -> None:
    menu = grub(
        INSTALL,
        entry("Install a very long product name that the screen cuts off", "quiet"),
        unattended(),
        entry("linux", "quiet"),
    )
    assert menu_keys.unattended(menu, "Demo-26").seen_in(text) is seen


def test_a_title_with_a_variable_is_known_up_to_it() -> None:
    plan = menu_keys.unattended(grub(entry("Install everything from ${medium}", *OURS)), "Demo-26")
    assert plan.shown == ("Install everything from",)
    assert not KeyPresses(title="x", keys=(), shown=()).seen_in("x")


# --- from the files of a medium, read as its boot loader reads them -----------------------------------------

ENTRY = """label unattended
  menu label {title}
  kernel vmlinuz
  append initrd=initrd.img inst.stage2=hd:LABEL=Demo-26-x86_64 inst.ks=hd:LABEL=Demo-26-x86_64:/ks.cfg quiet
"""
GRUB_ENTRY = """menuentry 'Install Demo 26 unattended' {options} {{
	linuxefi /images/pxeboot/vmlinuz inst.ks=hd:LABEL=Demo-26-x86_64:/ks.cfg quiet
	initrdefi /images/pxeboot/initrd.img
}}
"""
TROUBLESHOOTING = "# utilities submenu\n"


def volume(text: str) -> BootVolume:
    def has(path: str) -> bool:
        return path in (
            "/isolinux/isolinux.cfg",
            "/EFI/BOOT/grub.cfg",
            "/images/pxeboot/vmlinuz",
            "/images/pxeboot/initrd.img",
        )

    return BootVolume(
        name="cd0",
        label="Demo-26-x86_64",
        uuid="",
        read=lambda path: text if path.endswith(".cfg") and has(path) else None,
        has=has,
    )


@pytest.mark.parametrize(
    ("title", "more", "keys"),
    [
        ("Install ^unattended", "", "home u ret"),
        ("Install unattended", "", "home home down down ret"),  # the empty lines between are passed
        ("^Install Demo 26 unattended", "", "home home down down ret"),  # lorax' first entry has that hot key
        ("Install una^ttended", "", "home t ret"),  # before the submenu that has it, too
        ("Install ^unattended", "menu immediate", "home u"),
        ("Install ^Unattended", "MENU HIDDEN", "home u ret"),
        ("Install unattended", "menu hidden", "home home down down ret"),
        ("Install ^unattended", "prompt 1", "home u ret"),  # a menu program is started all the same
    ],
)
def test_the_keys_of_loraxs_isolinux_menu(title: str, more: str, keys: str) -> None:
    before, after = lorax_medium.ISOLINUX_MENU.format(volume="Demo-26-x86_64").split(TROUBLESHOOTING)
    menu = isolinux_menu.read(
        volume(f"{more}\n{before}{ENTRY.format(title=title)}\n{TROUBLESHOOTING}{after}")
    )
    assert menu is not None
    plan = menu_keys.unattended(menu, "Demo-26-x86_64")
    assert " ".join(plan.keys) == keys
    assert not plan.heard
    assert "Test this media & install Demo" in plan.shown


@pytest.mark.parametrize(
    ("options", "inside", "keys"),
    [
        ("--class os --hotkey=u", False, "u"),
        ("--hotkey u --unrestricted", False, "u"),
        ("--class os", False, "home down down down ret"),
        ("--class os", True, "home down down ret home down down ret"),
        ("--hotkey=u", True, "home down down ret u"),
    ],
)
def test_the_keys_of_loraxs_grub_menu(options: str, inside: bool, keys: str) -> None:
    text, entry = lorax_medium.GRUB_MENU.format(volume="Demo-26-x86_64"), GRUB_ENTRY.format(options=options)
    text = text.rstrip().removesuffix("}") + entry + "}\n" if inside else text + entry
    menu = grub_menu.read((volume(text),), "/EFI/BOOT/grub.cfg", Firmware.UEFI)
    plan = menu_keys.unattended(menu, "Demo-26-x86_64")
    assert " ".join(plan.keys) == keys
    assert "Troubleshooting -->" in plan.shown
