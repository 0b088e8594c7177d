"""Which menu a host's GRUB shows: one that is generated for each deployment, or none but the boot loader
entries that libostree writes, which GRUB reads by itself (Boot Loader Specification, type 1).

A module of GRUB reads them: `blscfg` in Fedora's and RHEL's, `blsuki` in GRUB 2.14 (grub-core/commands/
blsuki.c); both have the command blscfg, and sort by file name, the last first. libostree is told to leave the
boot loader alone (`sysroot.bootloader=none`, ostree.repo-config(5)), and the menu never changes.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from imagebuild.deploy.target import SYSROOT, File, Sandbox
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import BootMenu

# modules that have the command
READERS = ("blscfg", "blsuki")
# grub-mkconfig(8), Fedora's /etc/default/grub
ASKS_FOR_ENTRIES = "^[[:space:]]*GRUB_ENABLE_BLSCFG=[\"']?(true|yes|1)"
DEFAULTS = "/usr/etc/default/grub"
# what makes menus of entries: a tree's own (templates/compose/grub_menu.sh), GRUB's
# (ostree-bootloader-grub2.c)
GENERATORS = ("/usr/libexec/ostree-grub-menu", "/usr/sbin/grub2-mkconfig", "/usr/sbin/grub-mkconfig")
# the environment block (GRUB's manual, "The GRUB environment block"): 1024 bytes, filled with `#`
ENVIRONMENT_HEAD = b"# GRUB Environment Block\n"
ENVIRONMENT_SIZE = 1024
LOOK = """
for p in "$2"/*.mod; do n=${p##*/}; echo "module ${n%.mod}"; done
if grep -Eqs "$1" "$3"; then echo asks; fi
shift 3
for p; do if [ -x "$p" ]; then echo generator; fi; done
"""
HAS_ENTRY = 'for p in "$1"/*.conf; do if [ -s "$p" ]; then echo yes; fi; done'
MENU = """# Nothing in here changes: each deployment is an entry in /loader/entries, which GRUB reads itself.
set timeout={timeout}
set default=0
if [ -f ${{prefix}}/grubenv ]; then
  load_env next_entry boot_counter boot_success
fi
# what counts boots of a new deployment (greenboot, boot-counting) sets both: at the end of the count the one
# before is chosen, which is the second entry
if [ -n "${{boot_counter}}" -a "${{boot_success}}" = "0" ]; then
  if [ "${{boot_counter}}" = "0" -o "${{boot_counter}}" = "-1" ]; then
    set default=1
    set boot_counter=-1
{counts}
  else
    set boot_counter={most}
  fi
  save_env boot_counter
fi
if [ -n "${{next_entry}}" ]; then
  set default="${{next_entry}}"
  set next_entry=
  save_env next_entry
fi
if [ -f ${{prefix}}/user.cfg ]; then
  source ${{prefix}}/user.cfg
  if [ -n "${{GRUB2_PASSWORD}}" ]; then
    set superusers="root"
    export superusers
    password_pbkdf2 root ${{GRUB2_PASSWORD}}
  fi
fi
# Fedora's blscfg takes the entries' file system from there (grub-core/commands/blscfg.c, bls_create_entry),
# GRUB's own from `root`
set boot="${{root}}"
blscfg
"""
# GRUB counts with a module that only Fedora's has: boots that a deployment may have, at most
MOST_BOOTS = 9


@dataclass(frozen=True, kw_only=True)
class TreeGrub:
    """What a tree has for menus: directory of a platform -> the modules of its GRUB, whether its defaults ask
    for entries, and whether it can generate a menu.
    """

    platforms: Mapping[str, frozenset[str]]
    asks_for_entries: bool
    has_generator: bool

    @property
    def modules(self) -> frozenset[str]:
        """The modules that each platform has."""
        return frozenset.intersection(*self.platforms.values()) if self.platforms else frozenset()

    @property
    def reader(self) -> str | None:
        """The module that reads entries; None when there is none."""
        return next((name for name in READERS if name in self.modules), None)

    @property
    def preferred(self) -> BootMenu:
        """What the tree itself decides."""
        if self.reader is not None and (self.asks_for_entries or not self.has_generator):
            return BootMenu.ENTRIES
        return BootMenu.GENERATED


def look(target: Sandbox, modules: Sequence[str]) -> TreeGrub:
    """Look at a tree; `modules` are the directories of its GRUB, one for each platform that is wanted."""
    found, lines = dict[str, frozenset[str]](), list[str]()
    for directory in modules:
        lines = target.run(
            ["sh", "-c", LOOK, "sh", ASKS_FOR_ENTRIES, directory, DEFAULTS, *GENERATORS]
        ).splitlines()
        names = (line.partition(" ") for line in lines)
        found[directory] = frozenset(name for kind, _, name in names if kind == "module")
    return TreeGrub(
        platforms=found,
        asks_for_entries="asks" in lines,
        has_generator="generator" in lines,
    )


def check_asked(plan: Plan, tree: TreeGrub) -> None:
    """Raise BuildError when a kickstart asks for a menu that its tree cannot have."""
    if plan.boot_menu is BootMenu.ENTRIES and tree.reader is None:
        raise BuildError(
            "the kickstart asks for a menu of boot loader entries, which the tree's GRUB cannot read: it has"
            f" no module {' or '.join(READERS)}",
            hint="take `%addon org_imagebuild --boot-menu=entries` out of the kickstart, or compose the tree"
            " with GRUB 2.14 or newer",
        )
    if plan.boot_menu is BootMenu.GENERATED and not tree.has_generator:
        raise BuildError(
            "the kickstart asks for a generated menu, but the tree has nothing that generates one",
            hint="take `%addon org_imagebuild --boot-menu=generated` out of the kickstart, or add"
            " grub2-mkconfig to the tree",
        )


def chosen(plan: Plan, tree: TreeGrub) -> BootMenu:
    """Return the menu that a host gets, whoever can read it."""
    return plan.boot_menu or tree.preferred


def readable(menu: BootMenu, plan: Plan, tree: TreeGrub, image: Set[str]) -> BootMenu:
    """Return the menu that a signed GRUB with these modules in it can show: the generated one where nobody
    asked for entries and it cannot read them.
    """
    unasked = plan.boot_menu is None and tree.has_generator
    return BootMenu.GENERATED if unasked and lacking(menu, image) is not None else menu


def lacking(menu: BootMenu, image: Set[str]) -> str | None:
    """Return why a signed GRUB with these modules in it cannot show a menu; None when it can."""
    if menu is BootMenu.GENERATED or image & set(READERS):
        return None
    return (
        "the menu is made of boot loader entries, and the tree's signed GRUB has no"
        f" {' or '.join(READERS)} built in"
    )


def install(menu: BootMenu, plan: Plan, target: Sandbox, directory: str) -> None:
    """Lay down what the boot loader reads first; `directory` is GRUB's below /boot. The repository of the
    system is there.
    """
    place = SYSROOT / "boot" / directory
    target.write({place / "grubenv": File(data=environment_block())})
    if menu is BootMenu.ENTRIES:
        target.write({place / "grub.cfg": File(data=static_menu(plan.timeout).encode())})
        repo = SYSROOT / "ostree/repo"
        target.run(["ostree", f"--repo={repo}", "config", "set", "sysroot.bootloader", "none"])
        return
    target.run(
        # libostree takes GRUB for the boot loader when its menu is there, and writes the next one to
        # /boot/loader.N/grub.cfg
        ["mkdir", "-p", SYSROOT / "boot/loader.0"],
        ["ln", "-s", "loader.0", SYSROOT / "boot/loader"],
        ["touch", SYSROOT / "boot/loader.0/grub.cfg"],
        ["ln", "-s", "../loader/grub.cfg", place / "grub.cfg"],
    )


def static_menu(timeout: int) -> str:
    """Return the menu that never changes; `timeout` in seconds."""
    counts = "\n".join(
        f'  elif [ "${{boot_counter}}" = "{left}" ]; then\n    set boot_counter={left - 1}'
        for left in range(1, MOST_BOOTS + 1)
    )
    return MENU.format(timeout=timeout, counts=counts, most=MOST_BOOTS)


def check_entries(target: Sandbox) -> None:
    """Raise BuildError when the boot loader would find no entry."""
    path = SYSROOT / "boot/loader/entries"
    found = target.run(
        ["sh", "-c", 'for p in "$1"/*.conf; do if [ -s "$p" ]; then echo 1; fi; done', "sh", path]
    )
    if not found.strip():
        raise BuildError(
            "libostree wrote no boot loader entry: GRUB's menu would be empty",
            hint="look for what `ostree admin deploy` said in this log",
        )


def environment_block(**variables: str) -> bytes:
    """Return GRUB's environment block with variables."""
    head = ENVIRONMENT_HEAD + "".join(f"{name}={value}\n" for name, value in variables.items()).encode()
    return head.ljust(ENVIRONMENT_SIZE, b"#")
