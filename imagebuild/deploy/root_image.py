"""What a tree with composefs needs of its kernel and of the root file system: without that its initramfs ends
in an emergency shell, so it is said when the disk is made.

Sources: ostree-prepare-root(1), "Configuration"; ostree's manual, "Using composefs" ("Requirements");
ostree 2026.4, src/libotcore/otcore-prepare-root.c (`verity` and `signed` want fs-verity of the image itself,
too); Linux, Documentation/filesystems/fsverity.rst (ext4, f2fs and btrfs have it, xfs does not).
"""

from pathlib import Path, PurePosixPath
from typing import Protocol

from imagebuild.config import prepare_root
from imagebuild.config.prepare_root import CHECKED, MAYBE, PREPARE_ROOT
from imagebuild.deploy import compatibility, lvm
from imagebuild.errors import BuildError
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import ext4

NEEDED = ("overlay", "erofs")
# modules.dep and modules.builtin name each module's file (depmod(8))
LISTS = ("modules.dep", "modules.builtin")
VERITY_SETTING = "CONFIG_FS_VERITY=y"  # fs/verity/Kconfig: it cannot be a module
VERITY = 0x8000  # EXT4_FEATURE_RO_COMPAT_VERITY
# otcore.h, OSTREE_COMPOSEFS_NAME: what a deployment has beside its files
IMAGE = ".ostree.cfs"


class Reader(Protocol):
    """A repository that files of a commit are read from."""

    def read(self, commit: str, path: str, *, most: int = -1) -> bytes | None:
        """Return a file's content, None when there is none."""


def composefs(repo: Reader, commit: str) -> str | None:
    """Return what the tree asks of composefs, in small letters; None for nothing. Raises BuildError for a
    file that says nothing anybody understands.
    """
    path, text = prepare_root.counting(lambda path: repo.read(commit, path))
    try:
        return prepare_root.parse(text).composefs
    except ValueError as error:
        raise BuildError(
            f"/{path} of the tree cannot be read: {error}",
            hint="compose the tree with a prepare-root.conf as ostree-prepare-root(1) describes it",
        ) from error


def check_kernel(repo: Reader, commit: str, kernel: str) -> None:
    """Raise BuildError when the tree asks for composefs, and its kernel cannot mount such an image, or not
    check it.
    """
    asked = composefs(repo, commit)
    if asked in (None, MAYBE):
        return
    place = f"usr/lib/modules/{kernel}"
    known = {
        line.partition(":")[0].rpartition("/")[2].partition(".ko")[0]
        for name in LISTS
        for line in _text(repo, commit, f"{place}/{name}").splitlines()
    }
    missing = [name for name in NEEDED if name not in known]
    # distributions that ship no configuration of their kernel say nothing
    settings = _text(repo, commit, f"{place}/config").splitlines()
    if asked in CHECKED and settings and VERITY_SETTING not in settings:
        missing.append("fs-verity")
    if missing:
        raise BuildError(
            f"the tree asks for composefs ({asked}), but its kernel {kernel} has no"
            f" {' and no '.join(missing)}",
            hint=f"add the module to the tree, take another kernel, or [composefs] out of /{PREPARE_ROOT}",
        )


def _text(repo: Reader, commit: str, path: str) -> str:
    return (repo.read(commit, path) or b"").decode("utf-8", "replace")


def check_disk(file: Path, plan: Plan, deployment: PurePosixPath) -> None:
    """Raise BuildError when the content of files is to be checked, and the root file system that was made
    cannot do it, or has nothing to do it by: its initramfs would end in an emergency shell.

    `deployment`: its path on the root file system. Only ext4 is looked into.
    """
    name, fstype = plan.root()
    if not plan.verity or fstype != "ext4" or (plan.is_volume(name) and plan.thin()):
        return
    start, _ = lvm.place_of(plan, name)
    if not compatibility.has_feature(compatibility.superblock(file, start), VERITY):
        raise BuildError(
            f"the tree asks for composefs with {plan.composefs}, but / (ext4) was made without the feature"
            " verity",
            hint="update e2fsprogs in the tree: 1.45.2 and newer know it",
        )
    for path in (deployment / IMAGE, _some_object(file, start)):
        if not ext4.has_verity(file, str(path), start):
            raise BuildError(
                f"the tree asks for composefs with {plan.composefs}, but fs-verity is not on for {path}",
                hint=(
                    "ostree in the tree must be 2023.11 or newer and built with composefs, and the kernel"
                    " that the disk is made with have CONFIG_FS_VERITY"
                ),
            )


def _some_object(file: Path, start: int) -> PurePosixPath:
    """Return the path of an object that is the content of a file, in the repository on a root file system."""
    objects = PurePosixPath("/ostree/repo/objects")
    for prefix in (f"{number:02x}" for number in range(256)):
        for name in ext4.list_directory(file, str(objects / prefix), start):
            # links are objects, too; what has content is described with its size
            if name.endswith(".file") and ext4.is_regular(file, str(objects / prefix / name), start):
                return objects / prefix / name
    raise BuildError("the repository on the disk has no file")
