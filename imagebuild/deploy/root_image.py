"""What a tree with composefs needs of its kernel and of the root file system: without that its initramfs ends
in an emergency shell, so it is said when the disk is made.

Sources: ostree-prepare-root(1), "Configuration"; ostree's manual, "Using composefs" ("Requirements");
ostree 2026.4, src/libotcore/otcore-prepare-root.c (`verity` and `signed` want fs-verity of the image itself,
too); Linux, Documentation/filesystems/fsverity.rst (ext4, f2fs and btrfs have it, xfs does not).
"""

import configparser
from pathlib import Path
from typing import Protocol

from imagebuild.config.root import PREPARE_ROOT
from imagebuild.deploy import compatibility, lvm
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan

# how otcore reads a tristate (ot-keyfile-utils.c)
ASKED = frozenset({"yes", "true", "1", "verity", "signed"})
CHECKED = frozenset({"verity", "signed"})
NEEDED = ("overlay", "erofs")
# modules.dep and modules.builtin name each module's file (depmod(8))
LISTS = ("modules.dep", "modules.builtin")
VERITY = 0x8000  # EXT4_FEATURE_RO_COMPAT_VERITY


class Reader(Protocol):
    """A repository that files of a commit are read from."""

    def read(self, commit: str, path: str, *, most: int = -1) -> bytes | None:
        """Return a file's content, None when there is none."""


def composefs(repo: Reader, commit: str) -> str:
    """Return what the tree asks of composefs, in small letters; empty for nothing. Raises BuildError for a
    file that is none.
    """
    text = (repo.read(commit, PREPARE_ROOT) or b"").decode("utf-8", "replace")
    parsed = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parsed.read_string(text)
    except configparser.Error as error:
        raise BuildError(
            f"/{PREPARE_ROOT} of the tree cannot be read: {error.message}",
            hint="compose the tree with a prepare-root.conf as ostree-prepare-root(1) describes it",
        ) from error
    asked = parsed.get("composefs", "enabled", fallback="").strip().lower()
    return asked if asked in ASKED else ""


def check_kernel(repo: Reader, commit: str, kernel: str) -> None:
    """Raise BuildError when the tree asks for composefs, and its kernel cannot mount such an image."""
    asked = composefs(repo, commit)
    if not asked:
        return
    lists = [repo.read(commit, f"usr/lib/modules/{kernel}/{name}") or b"" for name in LISTS]
    known = {
        line.partition(":")[0].rpartition("/")[2].partition(".ko")[0]
        for text in lists
        for line in text.decode("utf-8", "replace").splitlines()
    }
    missing = [name for name in NEEDED if name not in known]
    if missing:
        raise BuildError(
            f"the tree asks for composefs ({asked}), but its kernel {kernel} has no"
            f" {' and no '.join(missing)}",
            hint=f"add the module to the tree, or take [composefs] out of /{PREPARE_ROOT}",
        )


def check_disk(file: Path, plan: Plan, asked: str) -> None:
    """Raise BuildError when the content of files is to be checked, and the root file system cannot do it."""
    if asked not in CHECKED:
        return
    name, fstype = plan.root()
    if fstype != "ext4":
        raise BuildError(
            f"the tree asks for composefs with {asked}, but / is {fstype}, which has no fs-verity",
            hint="give / in the kickstart --fstype=ext4, or compose the tree with composefs: yes",
        )
    start, _ = lvm.place_of(plan, name)
    if not compatibility.has_feature(compatibility.superblock(file, start), VERITY):
        raise BuildError(
            f"the tree asks for composefs with {asked}, but / (ext4) was made without the feature verity",
            hint="have `features` of ext4 in the tree's mke2fs.conf name verity (mke2fs.conf(5))",
        )
