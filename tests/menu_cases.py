"""Boot menus as people write them, and what their loader boots by itself.

GRUB's were each held against grub-emu 2.06-13+deb12u2 of Debian 12: with `linux` and `initrd` as functions
that say their words, and `timeout=0` after the last line, it printed the title that stands here. isolinux has
no emulator: its rules are read in syslinux 6.04 (com32/elflink/ldlinux and com32/menu: readconfig.c,
ldlinux.c, menumain.c), and quoted beside a case where they are not plain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


def entry(title: str, *, name: str = "", options: str = "") -> str:
    """Return an entry that boots a kernel of its own."""
    return (
        f"menuentry '{title}' {options} {{\n\tlinux /{name or title} inst.stage2=hd:LABEL=V quiet\n\tinitrd"
        " /initrd.img\n}\n"
    )


A, B, C = entry("A"), entry("B"), entry("C")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A menu: its text, other files beside it, the title that is booted by itself, after how many seconds
    (None: it waits for ever).
    """

    name: str
    text: str
    booted: str
    seconds: float | None = 5
    files: Mapping[str, str] = field(default_factory=dict)


GRUB = (
    Case(name="set", text=f"set default=1\nset timeout=5\n{A}{B}", booted="B"),
    Case(name="without set", text=f"default=1\ntimeout=5\n{A}{B}", booted="B"),
    Case(name="quoted", text=f"set default=\"1\"\nset timeout='5'\n{A}{B}", booted="B"),
    Case(name="on one line", text=f"set timeout=5;set default=1; {A}{B}", booted="B"),
    Case(name="nothing said", text=A + B, booted="A", seconds=None),
    Case(name="more than there are", text=f"default=7\ntimeout=5\n{A}{B}", booted="A"),
    Case(name="hexadecimal", text=f"default=0x1\ntimeout=5\n{A}{B}", booted="B"),
    Case(name="after the entries", text=f"default=0\ntimeout=5\n{A}{B}default=1\n", booted="B"),
    Case(
        name="again in an if",
        text=f"default=0\ntimeout=5\nif [ -f $prefix/grub.cfg ]; then\n  set default=1\nfi\n{A}{B}",
        booted="B",
    ),
    Case(
        name="in an else",
        text=f"timeout=5\nif [ x$unknown = xy ]; then default=0\nelse\n default=1\nfi\n{A}{B}",
        booted="B",
    ),
    Case(
        name="in an elif",
        text=f"timeout=5\nif false; then default=0\nelif true; then default=1; else default=2; fi\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="in an if in an if",
        text=f"timeout=5\nif true; then\nif ! false\nthen default=1; fi; fi\n{A}{B}",
        booted="B",
    ),
    Case(
        name="in a function",
        text=f"function choose {{\n  set default=$1\n}}\ntimeout=5\nchoose 1\n{A}{B}",
        booted="B",
    ),
    Case(
        name="in a function that is not called",
        text=f"function choose {{\n  set default=1\n}}\ntimeout=5\n{A}{B}",
        booted="A",
    ),
    Case(
        name="in a loop",
        text=f"timeout=5\nfor number in 2 1; do\n  default=$number\ndone\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="in a loop with an end",
        text=f"timeout=5\nfor number in 1 2; do default=$number; break; done\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="in a while",
        text=f'timeout=5\nwhile [ "$default" != 1 ]; do default=1; done\n{A}{B}',
        booted="B",
    ),
    Case(
        name="in an until", text=f'timeout=5\nuntil [ -n "$default" ]; do default=1; done\n{A}{B}', booted="B"
    ),
    Case(name="by its title", text=f'default="B c"\ntimeout=5\n{A}{entry("B c", name="B")}', booted="B c"),
    Case(name="by its id", text=f"default=it\ntimeout=5\n{A}{entry('B', options='--id it')}", booted="B"),
    Case(
        name="by its id, written with =",
        text=f"default=it\ntimeout=5\n{A}{entry('B', options='--class os --id=it')}",
        booted="B",
    ),
    Case(
        name="by its id, as grub-mkconfig writes it",
        text=(
            'timeout=5\nif [ x"${feature_menuentry_id}" = xy ]; then\n  menuentry_id_option="--id"\nelse\n '
            ' menuentry_id_option=""\nfi\ndefault=it\n'
        )
        + A
        + entry("B", options="$menuentry_id_option 'it'"),
        booted="B",
    ),
    Case(
        name="a saved entry",
        text=f'load_env\nset default="${{saved_entry}}"\ntimeout=5\n{A}{B}',
        booted="B",
        files={"grubenv": "# GRUB Environment Block\nsaved_entry=B\n" + "#" * 978},
    ),
    Case(
        name="a saved entry that was never saved",
        text=(
            f'if [ -s $prefix/grubenv ]; then load_env; fi\nset default="${{saved_entry}}"\ntimeout=5\n{A}{B}'
        ),
        booted="A",
    ),
    Case(name="in a submenu", text=f"default='S>B'\ntimeout=5\n{A}submenu S {{\n{A}{B}}}\n", booted="B"),
    Case(
        name="the first of a submenu", text=f"default=S\ntimeout=5\n{A}submenu S {{\n{B}{C}}}\n", booted="B"
    ),
    Case(
        name="a submenu with a default of its own",
        text=f"default=1\ntimeout=5\n{A}submenu S {{\ndefault=1\n{C}{B}}}\n",
        booted="B",
    ),
    Case(
        name="a submenu alone with a default of its own",
        text=f"timeout=5\nsubmenu S {{\ndefault=1\n{A}{B}}}\n",
        booted="B",
    ),
    Case(
        name="submenus that say theirs",
        text=f"timeout=5\nsubmenu S {{\ndefault=0\nsubmenu T {{ default=0; {B}\n{A}}}\n}}\n",
        booted="B",
    ),
    Case(
        name="a title with >",
        text=f"default='S -->>>B'\ntimeout=5\n{A}submenu 'S -->' {{\n{A}{B}}}\n",
        booted="B",
    ),
    Case(
        name="another file's",
        text=f"timeout=5\n{A}source $prefix/more.cfg\n",
        booted="B",
        files={"more.cfg": f"default=1\n{B}"},
    ),
    Case(
        name="another file's by a dot",
        text=f"timeout=5\n. $prefix/more.cfg\n{A}",
        booted="B",
        files={"more.cfg": f"default=1\n{C}{B}"},
    ),
    Case(
        name="another menu",
        text="default=0\ntimeout=9\nconfigfile $prefix/more.cfg\n" + C,
        booted="B",
        files={"more.cfg": f"default=1\ntimeout=5\n{A}{B}"},
    ),
    Case(
        name="another menu knows what is exported",
        text="number=1\nother=0\nexport number\nconfigfile $prefix/more.cfg\n",
        booted="B",
        files={
            "more.cfg": (
                f'default=$number$other\nif [ -z "$other" ]; then default=$number; fi\ntimeout=5\n{A}{B}'
            )
        },
    ),
    Case(
        name="a menu that is not there",
        text=f"configfile $prefix/none.cfg\ndefault=1\ntimeout=5\n{A}{B}",
        booted="B",
    ),
    Case(
        name="a menu without entries",
        text=f"configfile $prefix/more.cfg\ntimeout=5\n{A}{B}",
        booted="A",
        files={"more.cfg": "default=1\nexport default\n"},
    ),
    Case(
        name="an entry that leads to a menu",
        text=f"timeout=5\nmenuentry M {{ configfile $prefix/more.cfg; }}\n{A}",
        booted="B",
        files={"more.cfg": f"default=1\ntimeout=5\n{A}{B}"},
    ),
    Case(
        name="variables with blanks",
        text=f"name='B c'\ndefault=\"$name\"\ntimeout=5\n{A}{entry('B c', name='B')}",
        booted="B c",
    ),
    Case(
        name="quotes in a title",
        text='timeout=5\ndefault="it\'s"\n' + A + 'menuentry "it\'s" {\nlinux /B\ninitrd /i\n}\n',
        booted="it's",
    ),
    Case(
        name="a title in pieces",
        text="timeout=5\ndefault=1\n" + A + "menuentry B' 'c\\ d {\nlinux /B\ninitrd /i\n}\n",
        booted="B c d",
    ),
    Case(
        name="comments",
        text=f"# default=0\ntimeout=5 # seconds\ndefault=1#2\ndefault=1 #2\n{A}{B}",
        booted="B",
    ),
    Case(name="a line that goes on", text=f"timeout=5\nset \\\n  default=1\n{A}{B}", booted="B"),
    Case(name="a line that is no GRUB", text=f"timeout=5\ndefault=1\na | b\n{A}{B}", booted="B"),
    Case(
        name="and, or, not",
        text=f"timeout=5\nif [ a = b -o ! ( a = b ) -a -n x ]; then default=1; fi\n{A}{B}",
        booted="B",
    ),
    Case(
        name="numbers and versions",
        text=f"timeout=5\nif [ 2 -lt 10 -a v-2 -plt v-10 -a b '>' a ]; then default=1; fi\n{A}{B}",
        booted="B",
    ),
    Case(
        name="a return in a function",
        text=(
            "timeout=5\nfunction f {\n default=1\n return 0\n default=2\n}\nif f; then true; else"
            f" default=2; fi\n{A}{B}{C}"
        ),
        booted="B",
    ),
    Case(
        name="a return of a failure",
        text=f"timeout=5\nfunction f {{\n return 1\n}}\nif f; then default=2; else default=1; fi\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="a return and a break of nothing",
        text=f"timeout=5\nreturn\nbreak\ndefault=1\n{A}{B}",
        booted="B",
    ),
    Case(
        name="a break in a function in a loop",
        text=f"timeout=5\nfunction f {{\n break\n}}\nfor n in 2 1; do\nf\ndefault=$n\ndone\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="continue",
        text=f"timeout=5\nfor n in 1 2; do\nif [ $n = 2 ]; then continue; fi\ndefault=$n\ndone\n{A}{B}{C}",
        booted="B",
    ),
    Case(
        name="lines of Windows",
        text=f"timeout=5\r\ndefault=1\r\n{(A + B)}".replace("\r\n", "\n").replace("\n", "\r\n"),
        booted="B",
    ),
    Case(name="eval", text=f"timeout=5\nline='set default=1'\neval $line\n{A}{B}", booted="B"),
    Case(name="unset", text=f"timeout=5\ndefault=1\nunset default\n{A}{B}", booted="A"),
    Case(
        name="an unset timeout", text=f"timeout=5\ndefault=1\nunset timeout\n{A}{B}", booted="B", seconds=None
    ),
    Case(name="a negative timeout", text=f"timeout=-1\ndefault=1\n{A}{B}", booted="B", seconds=None),
    Case(
        name="entries in a loop",
        text=(
            'timeout=5\ndefault=1\nfor name in A B; do\nmenuentry "$name" $name {\nlinux /$2\ninitrd'
            " /i\n}\ndone\n"
        ),
        booted="B",
    ),
    Case(
        name="entries in an if",
        text=f"timeout=5\ndefault=1\nif true; then\n{A}fi\nif false; then\n{C}fi\n{B}",
        booted="B",
    ),
)


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
