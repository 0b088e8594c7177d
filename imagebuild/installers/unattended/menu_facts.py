"""What the boot menus of a finished installer ISO say: the labels that they look for, the kickstarts that
they offer.

The menus are those that firmware reads, in whatever file they are, and GRUB's on the ISO that are read from a
copy of its files.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools.menus import grub_choice, grub_menu, grub_script, medium
from imagebuild.tools.menus.grub_script import Statement
from imagebuild.tools.menus.medium import Medium
from imagebuild.tools.menus.menu import ESP, Menu, MenuLoader, Spot

COPIES = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/EFI/BOOT/grub.cfg")
# of a medium, in a kernel's argument (dracut.cmdline(7): root=live:CDLABEL=; Anaconda's boot options:
# hd:LABEL=); blanks as udev writes them
LABEL = re.compile(r"LABEL=([^\s:]+)")
ESCAPED = re.compile(r"\\x([0-9a-fA-F]{2})")


@dataclass(frozen=True, kw_only=True)
class MenuFacts:
    """Labels by the file they are in, kickstarts by the file of the menu that offers them, and why the menus
    cannot be told.
    """

    labels: Mapping[str, list[str]]
    kickstarts: Mapping[str, list[str]]
    problem: str | None = None


def read(image: Path, work: Path) -> MenuFacts:
    """Read the menus of an ISO; `work` is a directory for what must be extracted. What is not a menu is said
    in `problem`.
    """
    sought, kickstarts = dict[str, list[str]](), dict[str, list[str]]()
    try:
        there = medium.opened(image, work)
        menus = [medium.menu_of(there, firmware) for firmware in there.starts]
        menus += _copies(there, {spot for menu in menus for spot in menu.files})
    except BuildError as error:
        return MenuFacts(labels={}, kickstarts={}, problem=error.message)
    for menu in menus:
        words = [word for _, entry in menu.walk() for word in entry.arguments]
        kickstarts[name(menu.spot)] = sorted(
            {word.partition("=")[2] for word in words if word.startswith("inst.ks=")}
        )
        for spot in menu.files:
            text = next(
                volume.read(spot.file) or ""
                for volume in there.volumes(spot.volume)
                if volume.name == spot.volume
            )
            sought[name(spot)] = sorted(labels(text, menu.loader))
    return MenuFacts(labels=sought, kickstarts=kickstarts)


def name(spot: Spot) -> str:
    """Return what a menu's file is called in facts and problems."""
    return f"the ESP's {spot.file.removeprefix('/EFI/BOOT/')}" if spot.volume == ESP else spot.file


def _copies(there: Medium, read_by_firmware: set[Spot]) -> Iterator[Menu]:
    for path in COPIES:
        if there.iso.has(path) and Spot(volume=there.iso.name, file=path, line=1) not in read_by_firmware:
            yield grub_menu.read(there.volumes(there.iso.name), path, Firmware.UEFI)


def labels(text: str, loader: MenuLoader) -> set[str]:
    """Return the labels that a file looks for, in the words of its commands: without their quotes."""
    if loader is not MenuLoader.GRUB:
        return {_plain(label) for label in LABEL.findall(text)}
    labels = set[str]()
    for words in _commands(grub_script.parse(text).statements):
        labels |= {_plain(label) for word in words for label in LABEL.findall(word)}
        labels |= _searched(words) - {"$"}
    return labels


def _commands(statements: tuple[Statement, ...]) -> Iterator[list[str]]:
    for command in grub_script.inside(statements):
        yield [word.text for word in command.words]
        if command.block is not None:
            yield from _commands(command.block.statements)


def _searched(words: list[str]) -> set[str]:
    if words[0] == "search.fs_label":
        return set(words[1:2])
    if words[0] != "search":
        return set()
    options, names = grub_choice.options("search", words[1:])
    # without a name the value of --set is one (search_wrap.c)
    return set((names or options.get("set", []))[:1]) if "label" in options else set()


def _plain(label: str) -> str:
    return ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), label)
