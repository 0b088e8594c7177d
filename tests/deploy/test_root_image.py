"""A tree with composefs that could not boot is refused, with what to change."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuild.config.root import PREPARE_ROOT
from imagebuild.deploy import lvm, root_image
from imagebuild.errors import BuildError
from imagebuild.kickstart import plan
from imagebuild.kickstart.layout import GIB
from imagebuild.kinds import Firmware
from imagebuild.tools import command
from tests.kickstart.samples import rendered

COMMIT, KERNEL = "c" * 64, "6.12.118+deb13-amd64"
MODULES = f"usr/lib/modules/{KERNEL}/"
# both lines as they stand in the composed tree of Debian 13 (depmod of kmod 34.2)
DEP = b"kernel/fs/overlayfs/overlay.ko.xz:\nkernel/fs/erofs/erofs.ko.xz: kernel/lib/libcrc32c.ko.xz\n"


@dataclass
class Tree:
    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, commit: str, path: str, *, most: int = -1) -> bytes | None:
        del commit, most
        return self.files.get(path)


def asking(enabled: str, **more: bytes) -> Tree:
    names = {"dep": MODULES + "modules.dep", "builtin": MODULES + "modules.builtin"}
    files = {names[name]: text for name, text in more.items()}
    return Tree({PREPARE_ROOT: f"[composefs]\nenabled={enabled}\n".encode(), **files})


def test_a_kernel_with_what_composefs_needs_is_taken() -> None:
    root_image.check_kernel(asking("verity", dep=DEP), COMMIT, KERNEL)
    builtin = b"kernel/fs/overlayfs/overlay.ko\nkernel/fs/erofs/erofs.ko\n"
    root_image.check_kernel(asking("yes", builtin=builtin), COMMIT, KERNEL)


@pytest.mark.parametrize("tree", [Tree(), asking("no"), asking("maybe")])
def test_a_tree_that_does_not_insist_is_taken_with_any_kernel(tree: Tree) -> None:
    root_image.check_kernel(tree, COMMIT, KERNEL)


@pytest.mark.parametrize("name", ["overlay", "erofs"])
def test_a_kernel_without_a_module_is_refused(name: str) -> None:
    dep = b"\n".join(line for line in DEP.splitlines() if f"{name}.ko.xz:".encode() not in line)
    with pytest.raises(BuildError, match=f"has no {name}"):
        root_image.check_kernel(asking("yes", dep=dep), COMMIT, KERNEL)


def test_a_file_that_is_no_configuration_is_refused() -> None:
    with pytest.raises(BuildError, match=r"prepare-root\.conf of the tree cannot be read"):
        root_image.composefs(Tree({PREPARE_ROOT: b"enabled=yes\n"}), COMMIT)


def planned(fstype: str) -> plan.Plan:
    text, syntax = rendered("debian-13")
    text = text.replace("--fstype=xfs", f"--fstype={fstype}")
    return plan.read(text, syntax, disk_size=6 * GIB, firmware=frozenset(Firmware), seed="x")


def disk(place: Path, made: plan.Plan, features: str) -> Path:
    """Return a disk with the root file system as the real mke2fs makes it."""
    file = place / "disk.raw"
    start, size = lvm.place_of(made, made.root()[0])
    with file.open("wb") as stream:
        stream.truncate(made.disk_size)
    command.run(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-O",
            features,
            "-E",
            f"offset={start}",
            file,
            f"{size // 1024}k",
        ]
    )
    return file


def test_a_root_that_checks_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="/ is xfs, which has no fs-verity"):
        root_image.check_disk(tmp_path / "no", planned("xfs"), "verity")
    made = planned("ext4")
    with pytest.raises(BuildError, match="without the feature verity"):
        root_image.check_disk(disk(tmp_path, made, "^verity"), made, "signed")
    root_image.check_disk(disk(tmp_path, made, "verity"), made, "verity")
    root_image.check_disk(tmp_path / "no", planned("xfs"), "yes")
