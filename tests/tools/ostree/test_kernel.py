"""Kernels where composers have put them: every layout is held against `ostree admin deploy`, which must take
what is taken, and refuse what is refused.
"""

import hashlib
import os
import time
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import cast

import pytest

from imagebuild.config.tree import TreeConfig
from imagebuild.errors import BuildError
from imagebuild.installers.installer import Request
from imagebuild.installers.live import backend as live
from imagebuild.publish import description
from imagebuild.stages import tree as stage
from imagebuild.tools import command
from imagebuild.tools.ostree.kernel import BootFiles, boot_files
from imagebuild.tools.ostree.repository import Repo
from tests.old_layout import in_old_layout
from tests.tools.ostree.commits import FILES, REF, make_commit

# a host's repository (bare) has files of several owners
AS_ROOT = os.geteuid() == 0
SUM, OTHER = "c0" * 32, "d1" * 32
PLAIN = {name: data for name, data in FILES.items() if "modules" not in name} | {"usr/etc/passwd": b""}
VMLINUZ, IMG = "usr/lib/modules/6.1/vmlinuz", "usr/lib/modules/6.1/initramfs.img"
BOOT, OSTREE_BOOT = "boot", "usr/lib/ostree-boot"


def legacy(
    place: str, version: str = "6.1", checksum: str = SUM, initramfs_checksum: str = SUM
) -> dict[str, bytes]:
    return {
        f"{place}/vmlinuz-{version}-{checksum}": b"kernel",
        f"{place}/initramfs-{version}.img-{initramfs_checksum}": b"initramfs",
    }


GOOD: dict[str, tuple[dict[str, bytes], str, str, str]] = {
    "modules": ({VMLINUZ: b"kernel", IMG: b"initramfs"}, "6.1", VMLINUZ, IMG),
    "modules, without .img": ({VMLINUZ: b"kernel", IMG[:-4]: b"initramfs"}, "6.1", VMLINUZ, IMG[:-4]),
    "Fedora 25": (
        {VMLINUZ: b"kernel", **legacy(BOOT), **legacy(OSTREE_BOOT)},
        "6.1",
        f"{OSTREE_BOOT}/vmlinuz-6.1-{SUM}",
        f"{OSTREE_BOOT}/initramfs-6.1.img-{SUM}",
    ),
    "CentOS 7": (
        {
            **legacy(OSTREE_BOOT, "3.10.0-693.el7.x86_64"),
            f"{OSTREE_BOOT}/grub2/grub.cfg": b"x",
            f"{OSTREE_BOOT}/config-3.10": b"x",
        },
        "3.10.0-693.el7.x86_64",
        f"{OSTREE_BOOT}/vmlinuz-3.10.0-693.el7.x86_64-{SUM}",
        f"{OSTREE_BOOT}/initramfs-3.10.0-693.el7.x86_64.img-{SUM}",
    ),
    "/boot": (legacy(BOOT), "6.1", f"{BOOT}/vmlinuz-6.1-{SUM}", f"{BOOT}/initramfs-6.1.img-{SUM}"),
    "both": ({VMLINUZ: b"kernel", IMG: b"initramfs", **legacy(OSTREE_BOOT, "5.0")}, "6.1", VMLINUZ, IMG),
    "both, several without a checksum": (
        {
            VMLINUZ: b"kernel",
            IMG: b"initramfs",
            f"{BOOT}/vmlinuz-5": b"x",
            f"{BOOT}/initramfs-5.img": b"x",
            f"{BOOT}/vmlinuz-6": b"x",
        },
        "6.1",
        VMLINUZ,
        IMG,
    ),
    "modules of another kernel": (
        {VMLINUZ: b"kernel", "usr/lib/modules/6.2/vmlinuz": b"other", **legacy(OSTREE_BOOT)},
        "6.1",
        f"{OSTREE_BOOT}/vmlinuz-6.1-{SUM}",
        f"{OSTREE_BOOT}/initramfs-6.1.img-{SUM}",
    ),
    "no version in the name": (
        {
            "usr/lib/modules/6.1/modules.dep": b"",
            f"{OSTREE_BOOT}/vmlinuz-{SUM}": b"kernel",
            f"{OSTREE_BOOT}/initramfs-{SUM}": b"initramfs",
        },
        "6.1",
        f"{OSTREE_BOOT}/vmlinuz-{SUM}",
        f"{OSTREE_BOOT}/initramfs-{SUM}",
    ),
}
# and whether libostree refuses it always, or only when its readdir(3) comes that way
BAD: dict[str, tuple[dict[str, bytes], str, bool]] = {
    "nothing": ({"usr/lib/modules/6.1/modules.dep": b""}, "it has none", True),
    "no checksum": (
        {f"{BOOT}/vmlinuz-6.1": b"kernel", f"{BOOT}/initramfs-6.1.img": b"initramfs"},
        "it has none",
        True,
    ),
    "other checksums": (legacy(OSTREE_BOOT, "6.1", SUM, OTHER), "the same checksum", True),
    "other checksums beside modules": (
        {VMLINUZ: b"kernel", IMG: b"initramfs", **legacy(BOOT, "6.1", SUM, OTHER)},
        "the same checksum",
        True,
    ),
    "only the first directory counts": ({f"{OSTREE_BOOT}/grub2/x": b"", **legacy(BOOT)}, "it has none", True),
    "two kernels": (
        {VMLINUZ: b"kernel", IMG: b"x", "usr/lib/modules/6.2/vmlinuz": b"other"},
        "hosts would boot any",
        False,
    ),
    "two kernels with checksums": (
        {**legacy(BOOT), **legacy(BOOT, "6.2", OTHER, OTHER)},
        "the same checksum",
        False,
    ),
    "a strange version": (
        {"usr/lib/modules/6 1$/vmlinuz": b"kernel", "usr/lib/modules/6 1$/initramfs.img": b"x"},
        "no usable version",
        False,
    ),
}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    (tmp_path / "work").mkdir()
    return Repo.ensure(tmp_path / "repo")


def deploys(repo: Repo, place: Path) -> tuple[str, list[str]]:
    """Deploy as a host would; return what was complained of, and the files in its /boot, without
    directories.
    """
    place.mkdir()
    command.run(["ostree", "admin", "init-fs", place])
    command.run(["ostree", "admin", f"--sysroot={place}", "os-init", "x"])
    command.run(["ostree", f"--repo={place}/ostree/repo", "pull-local", repo.path, REF])
    try:
        status, said = command.status(["ostree", "admin", f"--sysroot={place}", "deploy", "--os=x", REF])
    finally:
        command.status(["chattr", "-R", "-i", place])
    return said if status else "", sorted(
        file.name for file in (place / "boot/ostree").rglob("*") if file.is_file()
    )


@pytest.mark.parametrize("layout", GOOD)
def test_what_a_host_can_deploy_is_taken(repo: Repo, tmp_path: Path, layout: str) -> None:
    files, version, kernel, initramfs = GOOD[layout]
    commit = make_commit(repo, tmp_path / "work", PLAIN | files)
    found = boot_files(repo, commit)
    assert found == BootFiles(
        version=version, kernel=PurePosixPath("/", kernel), initramfs=PurePosixPath("/", initramfs)
    )
    assert repo.read(commit, str(found.kernel)) == b"kernel"
    assert repo.read(commit, str(found.initramfs)) == b"initramfs"
    assert stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit)).kernel == version
    if AS_ROOT:
        complaint, booted = deploys(repo, tmp_path / "host")
        assert not complaint
        assert len(booted) == 2, "a host has no kernel and initramfs in /boot"


@pytest.mark.parametrize("layout", BAD)
def test_what_a_host_cannot_deploy_is_refused(repo: Repo, tmp_path: Path, layout: str) -> None:
    files, says, always = BAD[layout]
    commit = make_commit(repo, tmp_path / "work", PLAIN | files)
    with pytest.raises(BuildError, match=says) as caught:
        stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    assert "compose" in caught.value.hint
    if always and AS_ROOT:
        assert deploys(repo, tmp_path / "host")[0]


def test_a_kernel_without_initramfs_is_said(repo: Repo, tmp_path: Path) -> None:
    # a host takes it, but could not find its root
    for files in ({VMLINUZ: b"kernel"}, {f"{OSTREE_BOOT}/vmlinuz-6.1-{SUM}": b"kernel"}):
        commit = make_commit(repo, tmp_path / "work", PLAIN | files)
        with pytest.raises(BuildError, match=r"no initramfs beside its kernel 6\.1"):
            stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))


def test_links_in_the_layouts_are_followed_as_a_host_does(repo: Repo, tmp_path: Path) -> None:
    files = {
        "usr/lib/kernel/image": b"kernel",
        "usr/lib/kernel/initramfs": b"initramfs",
        "usr/lib/modules/6.1/modules.dep": b"",
    }
    links = {VMLINUZ: "../../kernel/image", IMG: "/usr/lib/kernel/initramfs", "usr/lib/modules/6.2": "6.1"}
    commit = make_commit(repo, tmp_path / "work", PLAIN | files, links=links)
    found = boot_files(repo, commit)
    assert (found.version, repo.read(commit, str(found.kernel)), repo.read(commit, str(found.initramfs))) == (
        "6.1",
        b"kernel",
        b"initramfs",
    )


def test_the_live_medium_and_the_release_read_the_same_files(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _, _, initramfs = GOOD["Fedora 25"]
    commit = make_commit(
        repo,
        tmp_path / "work",
        PLAIN | files | {VMLINUZ: b"the package's own", initramfs: b"the tree's initramfs"},
    )
    tree = stage.describe_tree(repo, stage.Pin(ref=REF, commit=commit))
    monkeypatch.setattr("imagebuild.installers.live.initramfs.build", lambda *_, **__: b"live initramfs")
    request = SimpleNamespace(tree=tree, config=SimpleNamespace(volume_id="V"))
    assert live._make_boot(tmp_path / "work", cast("Request", request), repo) == b"live initramfs"
    assert (tmp_path / "work" / "vmlinuz").read_bytes() == b"kernel"
    found = description._tree_facts(tree, repo, "")
    assert (found.kernel, found.initramfs_size) == ("6.1", len(b"the tree's initramfs"))
    assert found.initramfs_sha256 == hashlib.sha256(b"the tree's initramfs").hexdigest()


def test_a_tree_of_today_in_the_layout_of_then_is_pulled_and_deployed(repo: Repo, tmp_path: Path) -> None:
    today = make_commit(repo, tmp_path / "work", PLAIN | GOOD["modules"][0])
    commit = in_old_layout(repo, today, REF)
    names = {"osname": "x", "remote": "x", "update_url": "https://example.org", "update_gpg_key": "/k"}
    tree = {"url": f"file://{repo.path}", "allow_unsigned": True, **names}
    (tmp_path / "out").mkdir()
    pulled = stage.pull_tree(
        tmp_path / "out",
        stage.Pin(ref=REF, commit=commit),
        TreeConfig.model_validate(tree),
        tmp_path / "pulled",
    )
    assert (pulled.kernel, pulled.commit) == ("6.1", commit)
    found = boot_files(Repo(tmp_path / "pulled"), commit)
    assert found.initramfs is not None
    assert found.kernel.parent == found.initramfs.parent == PurePosixPath("/usr/lib/ostree-boot")
    if AS_ROOT:
        assert len(deploys(Repo(tmp_path / "pulled"), tmp_path / "host")[1]) == 2


def test_both_layouts_cost_the_same(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"usr/share/{number % 40}/{number}": b"%d" % number for number in range(400)}
    new = make_commit(repo, tmp_path / "work", PLAIN | many | GOOD["modules"][0])
    old = make_commit(repo, tmp_path / "work", PLAIN | many | GOOD["Fedora 25"][0])
    monkeypatch.setattr(Repo, "walk", None)
    monkeypatch.setattr(Repo, "open_file", None)
    seconds = {}
    for commit in (new, old):
        begun = time.process_time()
        boot_files(repo, commit)
        seconds[commit] = time.process_time() - begun
    assert max(seconds.values()) < 0.5, "the tree was walked"
