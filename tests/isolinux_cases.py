"""Menus of isolinux as people write them, and what is booted by itself."""

from tests.menu_cases import Case


def label(name: str, *lines: str) -> str:
    """Return a label that boots a kernel of its own."""
    more = "".join(f"  {line}\n" for line in lines)
    return (
        f"label {name}\n{more}  kernel vmlinuz\n  append initrd=initrd.img inst.stage2=hd:LABEL=V quiet\n\n"
    )


LA, LB, LC = label("a"), label("b"), label("c")
MENU = "default vesamenu.c32\ntimeout 50\n"
# each is /isolinux/isolinux.cfg, what is booted is a label
ISOLINUX = (
    Case(name="the first", text=f"{MENU}{LA}{LB}", booted="a"),
    Case(name="menu default", text=f"{MENU}{LA}{label('b', 'menu default')}", booted="b"),
    Case(
        name="the last menu default",
        text=f"{MENU}{label('a', 'menu default')}{label('b', 'menu default')}",
        booted="b",
    ),
    Case(
        name="capitals",
        text=(
            "DEFAULT vesamenu.c32\nTIMEOUT 50\nLABEL a\nLabel b\nMENU Default\nLINUX k\nINITRD i\nAPPEND"
            " quiet\n"
        ),
        booted="b",
    ),
    Case(name="ui", text=f"ui menu.c32\ntimeout 50\n{LA}{LB}", booted="a"),
    Case(name="ui and default", text=f"ui menu.c32\ndefault b\ntimeout 50\n{LA}{LB}", booted="b"),
    Case(
        name="default before ui",
        text=f"default b\nui vesamenu.c32\nprompt 0\ntimeout 50\n{LA}{LB}",
        booted="b",
    ),
    Case(name="a path to the program", text=f"ui /isolinux/vesamenu.c32\ntimeout 50\n{LA}{LB}", booted="a"),
    # menumain.c: the cursor leaves a line that cannot be chosen, and "cursor movement cancels timeout"
    Case(
        name="a separator before the first", text=f"{MENU}menu separator\n{LA}{LB}", booted="a", seconds=None
    ),
    Case(name="ontimeout", text=f"{MENU}ontimeout b\n{LA}{LB}", booted="b"),
    Case(name="no timeout", text=f"default vesamenu.c32\n{LA}{LB}", booted="a", seconds=None),
    Case(name="timeout 0", text=f"default vesamenu.c32\ntimeout 0\n{LA}{LB}", booted="a", seconds=None),
    Case(name="totaltimeout", text=f"default vesamenu.c32\ntotaltimeout 70\n{LA}{LB}", booted="a", seconds=7),
    Case(name="the shorter of two", text=f"{MENU}totaltimeout 30\n{LA}{LB}", booted="a", seconds=3),
    Case(
        name="a submenu that comes first",
        text=f"{MENU}menu begin Others\n{LB}menu end\n{label('a', 'menu default')}",
        booted="a",
    ),
    Case(
        name="the default in a submenu",
        text=f"ui menu.c32\ntimeout 50\ndefault b\n{LA}menu begin Others\n{LC}{LB}menu end\n",
        booted="b",
    ),
    Case(name="a hidden label", text=f"{MENU}{label('b', 'menu hide')}{LA}", booted="a"),
    Case(name="help", text=f"{MENU}{LA}text help\nlabel c\n  menu default\nendtext\n{LB}", booted="a"),
    Case(
        name="help in the last label",
        text=f"{MENU}{label('a', 'text help', 'Include all, label nothing:', 'label c', 'endtext')}",
        booted="a",
    ),
    Case(name="comments", text=f"{MENU}# menu default\n{LA}#label c\n{LB}", booted="a"),
    Case(
        name="include",
        text=f"{MENU}include entries.cfg\n",
        booted="a",
        files={"/isolinux/entries.cfg": LA + LB},
    ),
    Case(
        name="include by a path",
        text=f"{MENU}include /other/entries.cfg\n",
        booted="a",
        files={"/other/entries.cfg": LA + LB},
    ),
    Case(
        name="include with a tab",
        text=f"{MENU}{LA}include\tentries.cfg\tOthers\n",
        booted="a",
        files={"/isolinux/entries.cfg": LB},
    ),
    Case(
        name="lines of Windows",
        text=f"{MENU}{LA}{label('b', 'menu default')}".replace("\n", "\r\n"),
        booted="b",
    ),
    Case(
        name="menu include",
        text=f"{MENU}menu include entries.cfg\n{LB}",
        booted="a",
        files={"/isolinux/entries.cfg": LA},
    ),
    Case(
        name="include as a submenu",
        text=f"{MENU}{LA}menu include entries.cfg Others\n",
        booted="a",
        files={"/isolinux/entries.cfg": LB},
    ),
    Case(
        name="includes as Debian's installer has them",
        text="path \ninclude menu.cfg\ndefault vesamenu.c32\nprompt 0\ntimeout 0\n",
        booted="b",
        seconds=None,
        files={
            "/isolinux/menu.cfg": "menu hshift 7\nmenu title Installer\ninclude std.cfg\ninclude txt.cfg\n",
            "/isolinux/std.cfg": "menu color title * #FFFFFFFF *\n",
            "/isolinux/txt.cfg": (
                "default b\n"
                + LA.replace("label a\n", "label a\n\tmenu label ^Graphical\n")
                + label("b", "menu default")
            ),
        },
    ),
    Case(
        name="a program with a file",
        text=f"default vesamenu.c32 other.cfg\ntimeout 10\n{LB}",
        booted="a",
        files={"/isolinux/other.cfg": f"timeout 50\n{LA}"},
    ),
    Case(
        name="a label that is a menu",
        text=f"default m\nlabel m\n  com32 vesamenu\n  append other.cfg\n{LB}",
        booted="a",
        files={"/isolinux/other.cfg": f"timeout 50\n{LA}"},
    ),
    Case(
        name="a label that is a configuration",
        text=f"default go\nlabel go\n  config /other/menu.cfg\n  append /other\n{LB}",
        booted="a",
        files={"/other/menu.cfg": f"{MENU}include rest.cfg\n", "/other/rest.cfg": LA},
    ),
    # ldlinux.c: without `prompt`, what `default` names is loaded at once
    Case(name="a label at once", text=f"default b\ntimeout 50\n{LA}{LB}", booted="b", seconds=0),
    Case(name="a label after the prompt", text=f"default b\nprompt 1\ntimeout 50\n{LA}{LB}", booted="b"),
    Case(
        name="a label after the prompt, another on time-out",
        text=f"default b\nprompt 1\nontimeout a\ntimeout 50\n{LA}{LB}",
        booted="a",
    ),
)
