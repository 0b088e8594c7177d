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
    Case(name="a line that is not GRUB", text=f"timeout=5\ndefault=1\na | b\n{A}{B}", booted="B"),
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
