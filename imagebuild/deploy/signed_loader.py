"""A tree's signed boot loader: shim, which Microsoft signed, and a GRUB that shim knows; found where
distributions lay them, and placed on an ESP as their installers would.

Places: Debian's packages shim-signed, shim-helpers-amd64-signed, grub-efi-amd64-signed (bookworm: shim 16.1,
GRUB 2.06) and their grub-install (debian/patches, extra-removable and install-signed); bootupd, src/efi.rs
(/usr/lib/efi since 0.2.28, before that /usr/lib/bootupd/updates); rpm-ostree's /usr/lib/ostree-boot and,
older, /boot. Shim looks for GRUB and MokManager in the directory it was started from (shim.c,
DEFAULT_LOADER).

The program that makes boot entries (fbx64.efi) is placed in the vendor's directory only, as Debian's
grub-install does, and not beside shim on the removable path, where Anaconda has it: there shim starts it
instead of GRUB, and with a TPM it then resets the machine (fallback.c, fallback_should_prefer_reset). An
image that boots on a machine which forgets its variables would be reset for ever; without it, the removable
path leads straight to GRUB.
"""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from imagebuild.architectures.architecture import BootLoader
from imagebuild.deploy import grub_image
from imagebuild.deploy.grub_image import GrubImage
from imagebuild.deploy.target import Sandbox
from imagebuild.errors import BuildError

REMOVABLE = PurePosixPath("EFI/BOOT")
CONFIG = "grub.cfg"
LISTING = 'for p; do [ ! -f "$p" ] || printf "%s\\n" "$p"; done'


class UnsignedError(BuildError):
    """Why a tree's own boot loader is not for Secure Boot: what it lacks, or what its GRUB cannot do."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a distribution lays the parts: shell patterns of paths in a tree. `medium` is a GRUB for ISOs;
    the one for disks does where there is none. `suffix` is not part of a file's name on the ESP.
    """

    name: str
    shim: tuple[str, ...]
    grub: tuple[str, ...]
    medium: tuple[str, ...]
    suffix: str = ""


def helpers_of(machine: BootLoader) -> tuple[str, ...]:
    """Return the names of what may lie beside shim and goes with it."""
    return (
        machine.key_manager,
        machine.fallback,
        "MokManager.efi",
        "fallback.efi",
        machine.entry_list,
        "BOOT.CSV",
    )


def entries_of(machine: BootLoader) -> frozenset[str]:
    """Return the names of what makes boot entries, and of the list that it reads (fallback.c)."""
    return frozenset({machine.fallback, "fallback.efi", machine.entry_list, "BOOT.CSV"})


def places_of(machine: BootLoader) -> tuple[Place, ...]:
    """Return where distributions lay the parts for such machines; the newest first: a tree may keep an older
    place for older programs.
    """
    signed = f"/usr/lib/grub/{machine.platform}-signed"

    def vendors(name: str, shim: str, grub: str) -> Place:
        """Return the place of a distribution that lays its vendor directory into a tree."""
        return Place(
            name=name,
            shim=(f"{shim}/*/{machine.shim}", f"{shim}/*/shim.efi"),
            grub=(f"{grub}/*/{machine.grub}",),
            medium=(f"{grub}/*/{machine.medium}",),
        )

    return (
        Place(
            name="Debian's packages",
            shim=(f"/usr/lib/shim/{machine.shim}.signed",),
            grub=(f"{signed}/{machine.grub}.signed",),
            medium=(f"{signed}/{machine.medium}.signed",),
            suffix=".signed",
        ),
        vendors("bootupd", "/usr/lib/efi/shim/*/EFI", "/usr/lib/efi/grub2/*/EFI"),
        vendors("bootupd's updates", "/usr/lib/bootupd/updates/EFI", "/usr/lib/bootupd/updates/EFI"),
        vendors("rpm-ostree", "/usr/lib/ostree-boot/efi/EFI", "/usr/lib/ostree-boot/efi/EFI"),
        vendors("older rpm-ostree", "/boot/efi/EFI", "/boot/efi/EFI"),
    )


HINT = "for Secure Boot, add the distribution's signed shim and GRUB to the tree"


@dataclass(frozen=True, kw_only=True)
class SignedLoader:
    """The parts of a signed boot loader for a kind of machine. `helpers`: name on the ESP -> content of what
    goes with shim.
    """

    machine: BootLoader
    shim: bytes
    grub: bytes
    image: GrubImage
    helpers: Mapping[str, bytes]

    def on_disk(self, config: str) -> dict[PurePosixPath, bytes]:
        """Return path -> content of a disk's ESP; `config` leads from the vendor's directory to the menu."""
        directory = PurePosixPath(self.image.prefix.lstrip("/"))
        vendor = {self.machine.shim: self.shim, self.machine.grub: self.grub, **self.helpers}
        in_vendor = directory if directory.parent == PurePosixPath("EFI") and directory != REMOVABLE else None
        files = {in_vendor / name: data for name, data in vendor.items()} if in_vendor is not None else {}
        return files | self._removable() | {directory / CONFIG: config.encode()}

    def on_medium(self, config: str) -> dict[PurePosixPath, bytes]:
        """Return path -> content of an ISO's ESP; `config` leads to the menu, unless GRUB looks for that."""
        directory = PurePosixPath(self.image.prefix.lstrip("/"))
        leads = {directory / CONFIG: config.encode()} if directory != REMOVABLE else {}
        return self._removable() | leads

    def _removable(self) -> dict[PurePosixPath, bytes]:
        entries = entries_of(self.machine)
        helpers = {name: data for name, data in self.helpers.items() if name not in entries}
        files = {self.machine.removable: self.shim, self.machine.grub: self.grub, **helpers}
        return {REMOVABLE / name: data for name, data in files.items()}


def find_signed(
    target: Sandbox, needed: Sequence[str], machine: BootLoader, *, medium: bool = False
) -> SignedLoader:
    """Read a tree's signed boot loader for a kind of machine; `needed` are the modules that its GRUB must
    have in it, for with Secure Boot it loads none from a disk. Raises UnsignedError saying why there is none
    that can be used.
    """
    place, paths = _located(target, machine)
    shim = _first(paths, place.shim)
    grub = (_first(paths, place.medium) if medium else None) or _first(paths, place.grub)
    if shim is None or grub is None:
        raise UnsignedError(_lacking(shim, grub), hint=HINT)
    data = target.read(grub)
    try:
        image = grub_image.read(data)
    except BuildError as error:
        raise UnsignedError(f"the tree's {grub} cannot be used: {error.message}", hint=HINT) from error
    missing = sorted(set(needed) - image.modules)
    if missing:
        raise UnsignedError(
            f"the tree's {grub} has no {', '.join(missing)} built in, and with Secure Boot it loads none",
            hint="use a layout that this GRUB can read",
        )
    helpers = _helpers(target, place, shim, paths, machine)
    return SignedLoader(machine=machine, shim=target.read(shim), grub=data, image=image, helpers=helpers)


def shim_in(listing: Callable[[str], Sequence[str]], machine: BootLoader) -> PurePosixPath | None:
    """Return where a tree has its shim for a kind of machine; None when it has none. `listing` returns the
    names in a directory of the tree.
    """
    return next(filter(None, (_listed(listing, place.shim) for place in places_of(machine))), None)


def has_parts(listing: Callable[[str], Sequence[str]], machine: BootLoader) -> str | None:
    """Return what a tree lacks of a signed boot loader for a kind of machine; None when it has all of it."""
    has = [(_listed(listing, place.shim), _listed(listing, place.grub)) for place in places_of(machine)]
    if any(shim and grub for shim, grub in has):
        return None
    return _lacking(*next((found for found in has if any(found)), (None, None)))


def _lacking(shim: PurePosixPath | None, grub: PurePosixPath | None) -> str:
    if shim is None and grub is None:
        return "the tree has no shim and no signed GRUB"
    has, lacks = ("shim", "signed GRUB") if grub is None else ("a signed GRUB", "shim")
    return f"the tree has {has} ({grub or shim}), but no {lacks}"


def _listed(listing: Callable[[str], Sequence[str]], patterns: Sequence[str]) -> PurePosixPath | None:
    for pattern in patterns:
        paths = [PurePosixPath("/")]
        for part in PurePosixPath(pattern).parts[1:]:
            inside = ((path, name) for path in paths for name in listing(str(path)))
            paths = [path / name for path, name in inside if fnmatch.fnmatchcase(name, part)]
        if (found := _first(paths, (pattern,))) is not None:
            return found
    return None


def _located(target: Sandbox, machine: BootLoader) -> tuple[Place, list[PurePosixPath]]:
    """Return the first place of which the tree has shim and GRUB, or at least one, and what is there."""
    places, helpers = places_of(machine), helpers_of(machine)
    patterns = {place.name: _patterns(place, helpers) for place in places}
    # patterns are the shell's to expand; names are the tree's own: only plain ones are taken
    words = " ".join(pattern for found in patterns.values() for pattern in found)
    said = target.run(["sh", "-c", f"set -- {words}; {LISTING}", "sh"]).splitlines()
    paths = sorted({PurePosixPath(line) for line in said if line.startswith("/") and line.isprintable()})
    found = {place: [path for path in paths if _matches(path, patterns[place.name])] for place in places}
    whole = (
        place for place in places if _first(found[place], place.shim) and _first(found[place], place.grub)
    )
    some = (
        place
        for place in places
        if _first(found[place], place.shim) or _first(found[place], (*place.grub, *place.medium))
    )
    place = next(whole, None) or next(some, None)
    if place is None:
        raise UnsignedError(_lacking(None, None), hint=HINT)
    return place, found[place]


def _patterns(place: Place, names: Sequence[str]) -> list[str]:
    beside = {str(PurePosixPath(pattern).parent) for pattern in place.shim}
    helpers = [f"{directory}/{name}{place.suffix}" for directory in sorted(beside) for name in names]
    # a list is not signed
    lists = [f"{directory}/{name}" for directory in sorted(beside) for name in names if place.suffix]
    return [*place.shim, *place.grub, *place.medium, *helpers, *lists]


def _matches(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(_equals(path, pattern) for pattern in patterns)


def _equals(path: PurePosixPath, pattern: str) -> bool:
    """Whether a path is one that a shell makes of a pattern: there, a star does not stand for a slash."""
    parts, wanted = path.parts, PurePosixPath(pattern).parts
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _first(paths: Sequence[PurePosixPath], patterns: Sequence[str]) -> PurePosixPath | None:
    """Return the last by name of what the first pattern finds: of several versions, the newer; the removable
    path has a copy only.
    """
    for pattern in patterns:
        found = [path for path in paths if _equals(path, pattern) and path.parent.name != REMOVABLE.name]
        if found:
            return found[-1]
    return None


def _helpers(
    target: Sandbox,
    place: Place,
    shim: PurePosixPath,
    paths: Sequence[PurePosixPath],
    machine: BootLoader,
) -> dict[str, bytes]:
    """Read what lies beside shim; of a signed and an unsigned file of one name, the signed."""
    helpers: dict[str, bytes] = {}
    for name in helpers_of(machine):
        signed = place.suffix if not name.endswith(".CSV") else ""
        path = shim.parent / f"{name}{signed}"
        if path in paths:
            helpers[name] = target.read(path)
    return helpers
