"""GRUB 2's menu, read as GRUB reads it: its scripts are run, then each entry is tried, in variables of its
own.

Menus and submenus follow normal/menu.c of rhboot's GRUB 2.06 (`grub_menu_execute_entry`): a submenu that is
booted by itself goes on at once with its own default, which is what follows `>` in that of the menu above.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from imagebuild.architectures.registry import BUILT, loader_of
from imagebuild.errors import BuildError
from imagebuild.kinds import Firmware
from imagebuild.tools.menus import grub_choice
from imagebuild.tools.menus.grub_commands import Grub
from imagebuild.tools.menus.grub_machine import Defined, Here, Loaded, MenuContext, ReturnError, ShownError
from imagebuild.tools.menus.grub_script import GrubCommand, Statement
from imagebuild.tools.menus.menu import DEPTH, BootVolume, Menu, MenuEntry, MenuLoader, Spot

# normal/main.c, `features`
FEATURES = (
    "feature_chainloader_bpb",
    "feature_ntldr",
    "feature_platform_search_hint",
    "feature_default_font_path",
    "feature_all_video_module",
    "feature_menuentry_id",
    "feature_menuentry_options",
    "feature_200_final",
    "feature_nativedisk_cmd",
    "feature_timeout_style",
)
EXPORTED = frozenset(
    {"root", "prefix", "cmdpath", "fw_path", "pager", "lang", "grub_cpu", "grub_platform", *FEATURES}
)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Where an entry is written: its statement, those that it stands among, and the commands that loaded a
    kernel when it was tried.
    """

    statement: GrubCommand
    siblings: tuple[Statement, ...]
    spot: Spot
    kernels: tuple[Loaded, ...]
    initrds: tuple[str, ...]


Definitions = Mapping[tuple[int, ...], Definition]


@dataclass(frozen=True, kw_only=True)
class GrubReading:
    """A menu with the definition of each of its entries, by their way."""

    menu: Menu
    definitions: Definitions


@dataclass(frozen=True, kw_only=True)
class _Tried:
    """The entries of a menu, and the way to its default (empty: there is none, or it waits)."""

    entries: tuple[MenuEntry, ...] = ()
    definitions: Definitions
    way: tuple[int, ...] = ()


_NOTHING = _Tried(definitions={})


def read(volumes: Sequence[BootVolume], path: str, firmware: Firmware) -> Menu:
    """Return the menu of a grub.cfg on the first of the volumes, where GRUB itself lies. Raises BuildError
    (file and line).
    """
    return read_all(volumes, path, firmware).menu


def read_all(volumes: Sequence[BootVolume], path: str, firmware: Firmware) -> GrubReading:
    """Return the same, with where every entry is written. Raises BuildError for a file that is not there, or
    never ends.
    """
    try:
        return _read(volumes, path, firmware)
    except RecursionError as error:
        raise BuildError(f"GRUB's menu {path} is nested too deep to be read") from error


def _read(volumes: Sequence[BootVolume], path: str, firmware: Firmware) -> GrubReading:
    machine = Grub(volumes)
    home = volumes[0]
    scope = MenuContext(variables=_variables(volumes, path, firmware), exported=set(EXPORTED))
    spot = Spot(volume=home.name, file=home.actual(path), line=1)
    try:
        if not machine.run_file(spot, scope, DEPTH):
            raise BuildError(f"GRUB's menu {path} is not there")
    except ShownError as shown:
        spot, scope = shown.spot, shown.scope
    tried = _try_all(machine, scope, (), (spot,))
    menu = Menu(
        loader=MenuLoader.GRUB,
        spot=spot,
        entries=tried.entries,
        default=tried.way,
        timeout=grub_choice.timeout(scope.variables),
        files=tuple(dict.fromkeys(machine.files)),
        unsure=tuple(dict.fromkeys(machine.unsure)),
    )
    return GrubReading(menu=menu, definitions=tried.definitions)


def _variables(volumes: Sequence[BootVolume], path: str, firmware: Firmware) -> dict[str, str]:
    device = volumes[0].name
    directory = f"({device}){path.rpartition('/')[0]}"
    uefi = firmware.is_uefi
    return dict.fromkeys(FEATURES, "y") | {
        "root": device,
        "prefix": directory,
        "cmdpath": directory,
        "grub_platform": "efi" if uefi else "pc",
        "grub_cpu": _cpu(volumes) if uefi else "i386",
    }


def _cpu(volumes: Sequence[BootVolume]) -> str:
    """Return `$grub_cpu` of a GRUB that UEFI started: of the architecture whose program is on a volume."""
    loaders = [loader_of(name) for name in BUILT]
    there = (loader for loader in loaders if any(one.has(f"/EFI/BOOT/{loader.removable}") for one in volumes))
    return next(there, loaders[0]).cpu


def _try_all(machine: Grub, scope: MenuContext, way: tuple[int, ...], above: tuple[Spot, ...]) -> _Tried:
    """Try every entry of a menu, and those of its submenus; `above` are the files whose menus lead here."""
    default = scope.variables.get("default", "")
    chosen = grub_choice.index(default, [defined.entry for defined in scope.entries])
    entries, definitions, further = [], dict[tuple[int, ...], Definition](), tuple[int, ...]()
    for index, defined in enumerate(scope.entries):
        here = (*way, index)
        entry, definition, below = _try(
            machine, defined, scope, here, above, grub_choice.rest(default) if index == chosen else ""
        )
        definitions |= {here: definition, **below.definitions}
        further = below.way if index == chosen else further
        entries.append(entry)
    return _Tried(entries=tuple(entries), definitions=definitions, way=(chosen, *further) if entries else ())


def _try(
    machine: Grub,
    defined: Defined,
    scope: MenuContext,
    way: tuple[int, ...],
    above: tuple[Spot, ...],
    default: str,
) -> tuple[MenuEntry, Definition, _Tried]:
    """Run an entry's body as GRUB does when it is chosen; `default` is what it says to a submenu."""
    entry, inner = defined.entry, scope.opened() if defined.entry.submenu else scope.copied()
    if entry.submenu:
        inner.variables["default"] = default
    below, waits = inner, False
    arguments, unsure = machine.arguments, list(machine.unsure)
    machine.arguments = defined.names
    machine.calls += 1
    try:
        machine.run(defined.body, Here(scope=inner, spot=entry.spot, depth=DEPTH - len(way)))
    except ShownError as shown:
        entry, below, above = replace(entry, submenu=True), shown.scope, (*above, shown.spot)
        waits = grub_choice.timeout(below.variables) is None
    except ReturnError:
        pass
    finally:
        machine.calls -= 1
    machine.arguments, machine.unsure = arguments, unsure
    # an entry may lead back to a menu that it came from
    again = len(set(above)) < len(above) or len(way) >= DEPTH
    tried = _try_all(machine, below, way, above) if entry.submenu and not again else _NOTHING
    kernel, *words = inner.kernels[-1].words if inner.kernels and inner.kernels[-1].words else ("",)
    definition = Definition(
        statement=defined.statement,
        siblings=defined.siblings,
        spot=entry.spot,
        kernels=tuple(inner.kernels),
        initrds=inner.initrds,
    )
    entry = replace(
        entry, kernel=kernel, arguments=tuple(words), initrds=inner.initrds, entries=tried.entries
    )
    return entry, definition, replace(tried, way=() if waits else tried.way)
