"""What an unattended entry of a boot menu is made of, whichever loader's: an installing entry, and what it
must and must not say.
"""

import re
from collections.abc import Sequence

from imagebuild.tools.menus.menu import Menu, MenuEntry

PLACE = "/ks.cfg"
SECONDS = 10
KEY = "u"
# what an unattended installation must not inherit from the entry that it is a copy of (Anaconda's boot
# options; `mediacheck` of CentOS 6)
DROPPED = re.compile(
    r"(inst\.)?ks(\.\w+)?(=.*)?|rd\.live\.check(=.*)?|(inst\.)?(rescue|mediacheck)|nomodeset"
)
# what shows that the kernel starts an installer (Anaconda's boot options): without any, whatever has an
# initrd is taken for one
INSTALLING = re.compile(r"(inst\.)?(stage2|repo|ks)=.*")
RESCUE = re.compile(r"(inst\.)?rescue|rd\.break.*|systemd\.unit=rescue.*")
# what shows that nobody reads a kickstart there: a live system (dracut's, live-boot's, casper's, archiso's;
# Anaconda 45.21, data/liveinst/liveinst:
# "Kickstart is not supported on Live ISO installs"), debian-installer's separator of its own words
NO_KICKSTART = re.compile(r"rd\.live\.image|liveimg|boot=(live|casper)|archisobasedir=.*|---?")


def ask(volume: str) -> str:
    """Return the kernel's argument that has the kickstart on a medium of this label; blanks are written
    udev's way.
    """
    return f"inst.ks=hd:LABEL={volume.replace(' ', chr(92) + 'x20')}:{PLACE}"


def has(entry: MenuEntry, wanted: str) -> bool:
    """Whether an entry installs with the kickstart that is asked for, and with nothing that contradicts
    it.
    """
    others = [word for word in entry.arguments if word != wanted and DROPPED.fullmatch(word)]
    return bool(entry.kernel) and wanted in entry.arguments and not others and not _takes_none(entry)


def installs(entry: MenuEntry) -> bool:
    """Whether an entry may boot an installer."""
    return (
        bool(entry.kernel and entry.initrds)
        and not any(RESCUE.fullmatch(word) for word in entry.arguments)
        and not _takes_none(entry)
    )


def _takes_none(entry: MenuEntry) -> bool:
    """Whether an entry boots what reads no kickstart: without a word that only Anaconda's initramfs reads."""
    anaconda = any(word.startswith(("inst.stage2=", "inst.repo=")) for word in entry.arguments)
    return not anaconda and any(NO_KICKSTART.fullmatch(word) for word in entry.arguments)


def hint(menu: Menu, needed: str) -> str:
    """Return what to do about a menu without an installing entry; `needed` is what one has."""
    if any(_takes_none(entry) for _, entry in menu.walk()):
        return (
            "live media and installers other than Anaconda take no kickstart: give an installer's or network"
            " installation's ISO"
        )
    return "; ".join(menu.unsure) or needed


def best(entries: Sequence[tuple[tuple[int, ...], MenuEntry]]) -> list[tuple[tuple[int, ...], MenuEntry]]:
    """Return the entries that install, those first that say so, and those of the first menu before those of
    submenus.
    """
    able = [(way, entry) for way, entry in entries if installs(entry)]
    sure = [
        (way, entry) for way, entry in able if any(INSTALLING.fullmatch(word) for word in entry.arguments)
    ]
    return sorted(sure or able, key=lambda pair: len(pair[0]))


def row(way: tuple[int, ...], candidates: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the way and those of the candidates that follow it without a gap."""
    row = [way]
    while (*way[:-1], row[-1][-1] + 1) in candidates:
        row.append((*way[:-1], row[-1][-1] + 1))
    return row


def arguments(words: Sequence[str], wanted: str) -> list[str]:
    """Return a kernel's arguments with the kickstart, before a `quiet` at the end, and without what
    contradicts it.
    """
    kept = [word for word in words if not DROPPED.fullmatch(word)]
    return [*kept[:-1], wanted, "quiet"] if kept[-1:] == ["quiet"] else [*kept, wanted]


def title(installing: str) -> str:
    """Return the title of the unattended entry beside an installing one."""
    name = (
        re.sub(r"^(Test this media & )?install ", "", installing, flags=re.IGNORECASE).replace("'", "")
        or "the system"
    )
    return f"Install {name} unattended (erases the disk)"
