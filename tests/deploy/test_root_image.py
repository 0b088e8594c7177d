"""A tree with composefs that could not boot is refused, with what to change."""

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest

from imagebuild.config.prepare_root import PREPARE_ROOT
from imagebuild.deploy import boot_menu, configure, execute, filesystems, lvm, native, root_image
from imagebuild.deploy.execute import integrity
from imagebuild.deploy.ways import WAYS, choose
from imagebuild.errors import BuildError
from imagebuild.kickstart import plan
from imagebuild.kickstart.layout import GIB
from imagebuild.kinds import Firmware
from imagebuild.tools import command
from tests.fake_sandbox import FakeSandbox
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
    names = {"dep": "modules.dep", "builtin": "modules.builtin", "config": "config"}
    files = {MODULES + names[name]: text for name, text in more.items()}
    return Tree({PREPARE_ROOT: f"[composefs]\nenabled={enabled}\n".encode(), **files})


def test_a_kernel_with_what_composefs_needs_is_taken() -> None:
    root_image.check_kernel(asking("verity", dep=DEP), COMMIT, KERNEL)
    builtin = b"kernel/fs/overlayfs/overlay.ko\nkernel/fs/erofs/erofs.ko\n"
    root_image.check_kernel(asking("yes", builtin=builtin), COMMIT, KERNEL)


@pytest.mark.parametrize("tree", [Tree(), asking("no"), asking("maybe")])
def test_a_tree_that_does_not_insist_is_taken_with_any_kernel(tree: Tree) -> None:
    root_image.check_kernel(tree, COMMIT, KERNEL)


@pytest.mark.parametrize(
    ("enabled", "config", "taken"),
    [
        ("verity", b"CONFIG_X=y\nCONFIG_FS_VERITY=y\n", True),
        ("signed", b"# CONFIG_FS_VERITY is not set\n", False),
        ("yes", b"# CONFIG_FS_VERITY is not set\n", True),
        # a distribution that does not say
        ("verity", b"", True),
    ],
)
def test_a_kernel_that_cannot_check_is_refused(enabled: str, config: bytes, taken: bool) -> None:
    tree = asking(enabled, dep=DEP, config=config)
    if taken:
        root_image.check_kernel(tree, COMMIT, KERNEL)
    else:
        with pytest.raises(BuildError, match="has no fs-verity"):
            root_image.check_kernel(tree, COMMIT, KERNEL)


@pytest.mark.parametrize("name", ["overlay", "erofs"])
def test_a_kernel_without_a_module_is_refused(name: str) -> None:
    dep = b"\n".join(line for line in DEP.splitlines() if f"{name}.ko.xz:".encode() not in line)
    with pytest.raises(BuildError, match=f"has no {name}"):
        root_image.check_kernel(asking("yes", dep=dep), COMMIT, KERNEL)


def test_a_file_that_is_no_configuration_is_refused() -> None:
    with pytest.raises(BuildError, match=r"prepare-root\.conf of the tree cannot be read"):
        root_image.composefs(Tree({PREPARE_ROOT: b"enabled=yes\n"}), COMMIT)


def planned(fstype: str, enabled: str = "verity") -> plan.Plan:
    text, syntax = rendered("debian-13")
    text = text.replace("--fstype=xfs", f"--fstype={fstype}")
    made = plan.read(text, syntax, disk_size=6 * GIB, firmware=frozenset(Firmware), seed="x")
    return replace(made, composefs=enabled)


DEPLOYMENT = PurePosixPath(f"/ostree/deploy/os/deploy/{COMMIT}.0")
OBJECT = "ostree/repo/objects/ab/cdef.file"


def disk(place: Path, made: plan.Plan, features: list[str], *sealed: str) -> Path:
    """Return a disk with a root file system as the real mke2fs makes it; what is `sealed` has the flag that a
    kernel sets.
    """
    tree, file = place / "tree", place / "disk.raw"
    for path in (f"{DEPLOYMENT}/.ostree.cfs"[1:], OBJECT):
        (tree / path).parent.mkdir(parents=True)
        (tree / path).write_bytes(b"content")
    (tree / "ostree/repo/objects/00").mkdir()
    (tree / "ostree/repo/objects/00/link.file").symlink_to("elsewhere")
    start, size = lvm.place_of(made, made.root()[0])
    with file.open("wb") as stream:
        stream.truncate(made.disk_size)
    made_by = ["mke2fs", "-q", "-F", "-t", "ext4", *features, "-E", f"offset={start}"]
    command.run([*made_by, "-d", tree, file, f"{size // 1024}k"])
    for path in sealed:
        command.run(["debugfs", "-w", "-R", f"sif /{path} flags 0x180000", f"{file}?offset={start}"])
    return file


SEALED = (f"{DEPLOYMENT}/.ostree.cfs"[1:], OBJECT)


def test_a_root_that_is_made_for_it_is_taken(tmp_path: Path) -> None:
    made = planned("ext4")
    features = filesystems.features(made, "root")
    assert features == ["-O", "verity"]
    assert filesystems.features(made, "boot") == []
    assert filesystems.features(planned("ext4", "yes"), "root") == []
    root_image.check_disk(disk(tmp_path, made, features, *SEALED), made, DEPLOYMENT)
    # nothing is checked there, and so nothing needs to be sealed
    root_image.check_disk(tmp_path / "no", planned("xfs", "yes"), DEPLOYMENT)


def test_a_root_that_checks_nothing_is_refused(tmp_path: Path) -> None:
    made = planned("ext4", "signed")
    with pytest.raises(BuildError, match="without the feature verity"):
        root_image.check_disk(disk(tmp_path, made, ["-O", "^verity"], *SEALED), made, DEPLOYMENT)


@pytest.mark.parametrize("missing", [0, 1])
def test_what_no_kernel_has_sealed_is_refused(missing: int, tmp_path: Path) -> None:
    made = planned("ext4")
    file = disk(tmp_path, made, ["-O", "verity"], SEALED[1 - missing])
    with pytest.raises(BuildError, match=f"fs-verity is not on for /{SEALED[missing]}"):
        root_image.check_disk(file, made, DEPLOYMENT)


def test_only_a_kernel_with_it_populates_such_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned("ext4")
    monkeypatch.setattr(native, "VERITY", tmp_path / "gone")
    assert "only a kernel can set" in (WAYS["offline"].refuses(made) or "")
    assert "this machine's kernel does not have" in (WAYS["native"].refuses(made) or "")
    assert choose(made, tuple(WAYS)) == "appliance"
    monkeypatch.setattr(native, "VERITY", tmp_path)
    assert choose(made, tuple(WAYS)) == "native"
    assert choose(planned("ext4", "yes"), tuple(WAYS)) == "offline"


@pytest.mark.parametrize(
    ("enabled", "keys"),
    [
        (None, []),
        ("maybe", []),
        ("yes", ["composefs"]),
        ("verity", ["composefs", "fsverity"]),
    ],
)
def test_the_repository_is_told_to_seal_what_it_writes(enabled: str | None, keys: list[str]) -> None:
    commands = integrity(replace(planned("ext4"), composefs=enabled), PurePosixPath("/r"))
    assert [[*argv] for argv in commands] == [
        ["ostree", "--repo=/r", "config", "set", f"ex-integrity.{key}", "true"] for key in keys
    ]


def test_it_is_told_before_anything_is_pulled_and_asked_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("install", "check_entries"):
        monkeypatch.setattr(boot_menu, name, lambda *_: None)
    loader: Any = SimpleNamespace(directory="grub", menu=None)
    for enabled in ("verity", "yes"):
        target: Any = FakeSandbox()
        execute._deploy(replace(planned("ext4"), composefs=enabled), target, COMMIT, loader)
        order = [" ".join(argv) for argv in target.commands]
        (told,) = [number for number, line in enumerate(order) if "ex-integrity.composefs" in line]
        (pulled,) = [number for number, line in enumerate(order) if "pull-local" in line]
        assert told < pulled
        sealed = [number for number, line in enumerate(order) if "ostree admin post-copy" in line]
        assert len(sealed) == (enabled == "verity")
        assert all(number > pulled for number in sealed)


@pytest.mark.parametrize(("enabled", "mounted"), [(None, True), ("maybe", False), ("yes", False)])
def test_an_overlay_at_the_root_has_no_line_in_fstab(enabled: str | None, mounted: bool) -> None:
    """It would be remounted, which an overlay refuses: a unit would fail at every boot."""
    fstab = configure._fstab(replace(planned("ext4"), composefs=enabled))
    places = [line.split()[1] for line in fstab.splitlines() if not line.startswith("#")]
    assert ("/" in places) == mounted
    assert "/boot" in places
