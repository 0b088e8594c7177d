"""Where a host that boots from OSTree can have a file system of its own, and where the links of its tree
lead.

Sources: libostree 2022.7 and 2026.4, docs/adapting-existing.md ("System layout"),
src/switchroot/ostree-prepare-root.c (what is mounted in the initramfs),
src/libostree/ostree-impl-system-generator.c (/var); systemd's pull requests 6293 and 24018 (links in fstab).
"""

import posixpath
import re
from pathlib import Path
from typing import Protocol

from imagebuild.kickstart.problems import BadKickstartError

COMMIT = "the commit's own files are there, which every deployment has from the repository"
PHYSICAL = "the physical root with the repository and all deployments is there, mounted in the initramfs"
KERNEL = "it is mounted anew at every boot, with what kernel and systemd keep there"
# a place, and what is below it -> why nothing else can be mounted there, whatever the tree
TAKEN = {
    r"/(usr|bin|sbin|lib(32|64|x32|exec)?)": COMMIT,
    r"/etc": "each deployment has its own, and an upgrade merges it",
    r"/(sysroot|ostree)": PHYSICAL,
    r"/(proc|sys|dev|run|var/run|var/lock)": KERNEL,
}
# what trees link to elsewhere, although it is below a place that is taken: without a tree nobody knows
PERHAPS_LINKED = re.compile(r"/usr/local(/.*)?")
# read by GRUB through links and names of libostree's own, on the one file system that it knows
BOOT = "the boot loader and libostree want all of /boot on one file system"
# older ones bind the stateroot's /var in the initramfs, and systemd then leaves an entry of fstab alone
# (libostree before 2017.6; issue 855)
GENERATOR = "/usr/lib/systemd/system-generators/ostree-system-generator"
# include/linux/namei.h, MAXSYMLINKS
LINKS = 40
# bytes of a file of settings; whatever is longer is something else
SMALL = 64 << 10
HINT = "have it in /var, or in a directory below it"


class TreeFiles(Protocol):
    """The files of a commit, as far as a kickstart depends on them; a path's parents are not links."""

    def link(self, path: str) -> str | None:
        """Return what a symbolic link says; None when there is none at that path."""

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at that path."""

    def has(self, path: str) -> bool:
        """Whether there is anything at that path."""

    def content(self, path: str) -> bytes | None:
        """Return a small file's content; None when there is none at that path."""


class RunningTree:
    """The tree that this machine runs from, as the live installer does."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def _place(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def link(self, path: str) -> str | None:
        """Return what a symbolic link says; None when there is none at that path."""
        place = self._place(path)
        return str(place.readlink()) if place.is_symlink() else None

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory at that path."""
        return self._place(path).is_dir() and not self._place(path).is_symlink()

    def has(self, path: str) -> bool:
        """Whether there is anything at that path."""
        return self._place(path).exists()

    def content(self, path: str) -> bytes | None:
        """Return a small file's content; None when there is none at that path."""
        place = self._place(path)
        return place.read_bytes()[:SMALL] if place.is_file() else None


def plain(mount: str) -> str:
    """Return a mount point without what means nothing in it (`/var/`, `//var`, `/./var`); one with `..` stays
    as it is.
    """
    words = mount.split("/")
    return (
        "/" + "/".join(word for word in words if word not in ("", "."))
        if mount.startswith("/") and ".." not in words
        else mount
    )


def settle(mount: str, tree: TreeFiles | None, where: str) -> str:
    """Return where a host has the file system that a kickstart wants at `mount` (absolute): links of the tree
    are followed.

    In fstab systemd follows them since 2017 only, and only where no more than the last name is missing (252:
    where anything is). `tree` None: its links are not known, and only what no tree can have is refused.
    Raises BadKickstartError, which begins with `where`.
    """
    if mount in ("/", "/boot", "/boot/efi"):
        return mount
    _refuse_taken(mount, mount, where)
    if tree is None:
        return mount
    place = _followed(mount, tree, where)
    if place == "/":
        raise BadKickstartError(f"{where}: {mount} is a link to the root directory in this tree", hint=HINT)
    # a link into the physical root is fine, as /tmp is one in many trees; what ostree keeps there is not for
    # anybody else
    if not (place.startswith("/sysroot/") and not re.match(r"/sysroot/(ostree|boot)(/|$)", place)):
        _refuse_taken(mount, place, where)
    _refuse_unmountable(mount, place, tree, where)
    return place


def _refuse_taken(mount: str, place: str, where: str) -> None:
    """Refuse a place that is taken; of what a tree may link to elsewhere only where that leads."""
    if place == mount and PERHAPS_LINKED.fullmatch(place):
        return
    reason = next((why for pattern, why in TAKEN.items() if re.fullmatch(rf"{pattern}(/.*)?", place)), None)
    if place.startswith("/boot/"):
        reason = BOOT
    if reason is not None:
        leads = f" ({mount} leads to {place} in this tree)" if place != mount else ""
        raise BadKickstartError(
            f"{where}: an OSTree host cannot have a separate file system there{leads}: {reason}", hint=HINT
        )


def _followed(mount: str, tree: TreeFiles, where: str) -> str:
    """Return a path with every link of the tree followed, as far as the tree has it; what is missing is taken
    as it is.
    """
    place, todo, links = "/", mount.split("/"), 0
    while todo:
        name = todo.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            place = posixpath.dirname(place)
            continue
        target = tree.link(posixpath.join(place, name))
        if target is None:
            place = posixpath.join(place, name)
            continue
        links += 1
        if links > LINKS:
            raise BadKickstartError(f"{where}: the links of this tree lead in a circle there", hint=HINT)
        place, todo = ("/" if target.startswith("/") else place), target.split("/") + todo
    return place


def _refuse_unmountable(mount: str, place: str, tree: TreeFiles, where: str) -> None:
    if place == "/usr/local" or place.startswith("/usr/local/"):
        raise BadKickstartError(
            f"{where}: an OSTree host cannot have a separate file system there: {mount} is not a link out of"
            f" /usr in this tree, and {COMMIT}",
            hint=HINT,
        )
    if place == "/var" and not tree.has(GENERATOR):
        raise BadKickstartError(
            f"{where}: hosts of this tree would not mount it: their libostree is older than 2017.6 (or built"
            " without systemd) and mounts a /var itself",
            hint=(
                "use separate file systems below /var only (/var/lib, /var/home …), or update ostree in"
                " the tree"
            ),
        )
    if place.startswith(("/var/", "/sysroot/")) or tree.is_directory(place):
        return
    raise BadKickstartError(
        f"{where}: this tree has no directory {place}, and none can be made: the root directory of a"
        " deployment is immutable",
        hint=HINT,
    )
