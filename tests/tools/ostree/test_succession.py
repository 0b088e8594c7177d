"""Releases made for a test have an initramfs of their own, wherever libostree finds it: real repositories, an
archive as the kernel reads it.
"""

import gzip
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from imagebuild.tools import initramfs
from imagebuild.tools.ostree import succession
from imagebuild.tools.ostree.repository import Repo
from tests.tools.ostree.commits import make_commit

OLD = gzip.compress(b"what dracut made", mtime=0)
KERNEL, SUM = b"kernel\n", hashlib.sha256(b"kernel\n" + OLD).hexdigest()
COMMON = {"usr/lib/os-release": b"ID=test\n", "usr/lib/dracut/dracut.conf.d/x.conf": b"\n"}
MODULES = {"usr/lib/modules/6.1/vmlinuz": KERNEL, "usr/lib/modules/6.1/initramfs.img": OLD}
# as rpm-ostree before 2017.9 wrote them (rpm-ostree 2017.8, src/libpriv/rpmostree-postprocess.c)
LEGACY = {
    "usr/lib/modules/4.11/vmlinuz": KERNEL,
    f"usr/lib/ostree-boot/vmlinuz-4.11-{SUM}": KERNEL,
    f"usr/lib/ostree-boot/initramfs-4.11.img-{SUM}": OLD,
    f"boot/vmlinuz-4.11-{SUM}": KERNEL,
    f"boot/initramfs-4.11.img-{SUM}": OLD,
}
BOOT = {path: data for path, data in LEGACY.items() if path.startswith("boot/")}


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Read a newc archive by its definition (Linux,
    Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    found: dict[str, bytes] = {}
    place = 0
    while True:
        assert archive[place : place + 6] == b"070701"
        numbers = [int(archive[place + start : place + start + 8], 16) for start in range(6, 110, 8)]
        size, length = numbers[6], numbers[11]
        name = archive[place + 110 : place + 110 + length - 1].decode()
        place += 110 + length + -(110 + length) % 4
        if name == "TRAILER!!!":
            return found
        assert numbers[1] == 0o100644
        found[name] = archive[place : place + size]
        place += size + -size % 4


@pytest.mark.parametrize("length", range(4))
def test_a_second_archive_follows_where_the_kernel_looks_for_it(length: int) -> None:
    first = b"x" * (8 + length)
    whole = initramfs.marked(first, "next")
    rest = whole[len(first) :].lstrip(b"\0")
    begin = len(whole) - len(rest)
    assert whole.startswith(first)
    assert begin % 4 == 0
    assert begin - len(first) >= 4, "an lz4 stream ends with a word of zeros"
    assert unpacked(rest) == {
        "lib/dracut/hooks/cmdline/01-imagebuild.sh": b"echo next > /run/imagebuild-initramfs\n"
    }


def test_cpio_reads_the_archive_and_a_shell_the_hook(tmp_path: Path) -> None:
    archive = initramfs.marked(b"", "next").lstrip(b"\0")
    (tmp_path / "lib/dracut/hooks/cmdline").mkdir(parents=True)
    subprocess.run(["cpio", "--extract", "--quiet"], input=archive, cwd=tmp_path, check=True)
    hook = (tmp_path / initramfs.HOOK).read_text()
    subprocess.run(["sh", "-euc", hook.replace("/run/", f"{tmp_path}/")], check=True)
    assert (tmp_path / "imagebuild-initramfs").read_text() == "next\n"


def related(tmp_path: Path, files: dict[str, bytes], mark: str = "next") -> tuple[Repo, str, bool]:
    repo = Repo.ensure(tmp_path / "repo")
    commit = make_commit(repo, tmp_path, files)
    made, has_mark = succession.relative(
        repo, commit, version="2", parent=commit, timestamp=1_700_000_200, mark=mark
    )
    return repo, made, has_mark


@pytest.mark.parametrize("name", ["initramfs.img", "initramfs"])
def test_the_initramfs_beside_the_kernel_is_another(tmp_path: Path, name: str) -> None:
    files = {path.replace("initramfs.img", name): data for path, data in MODULES.items()}
    repo, made, has_mark = related(tmp_path, COMMON | files)
    assert has_mark
    assert repo.read(made, f"usr/lib/modules/6.1/{name}") == initramfs.marked(OLD, "next")
    assert repo.read(made, "usr/lib/modules/6.1/vmlinuz") == KERNEL
    assert repo.listing(made, "usr/lib/modules/6.1") == sorted(["vmlinuz", name])


@pytest.mark.parametrize(("files", "place"), [(LEGACY, "usr/lib/ostree-boot"), (BOOT, "boot")])
def test_where_names_have_checksums_all_of_them_change(
    tmp_path: Path, files: dict[str, bytes], place: str
) -> None:
    repo, made, has_mark = related(tmp_path, COMMON | files)
    assert has_mark
    changed = initramfs.marked(OLD, "next")
    checksum = hashlib.sha256(KERNEL + changed).hexdigest()
    assert repo.listing(made, place) == [f"initramfs-4.11.img-{checksum}", f"vmlinuz-4.11-{checksum}"]
    assert repo.read(made, f"{place}/initramfs-4.11.img-{checksum}") == changed
    assert repo.read(made, f"{place}/vmlinuz-4.11-{checksum}") == KERNEL


def test_a_tree_with_both_layouts_gets_both(tmp_path: Path) -> None:
    both = LEGACY | {path.replace("6.1", "4.11"): data for path, data in MODULES.items()}
    repo, made, _ = related(tmp_path, COMMON | both)
    assert repo.read(made, "usr/lib/modules/4.11/initramfs.img") == initramfs.marked(OLD, "next")
    assert f"initramfs-4.11.img-{SUM}" not in repo.listing(made, "usr/lib/ostree-boot")


def test_what_nobody_knows_how_to_mark_stays_as_it_is(tmp_path: Path) -> None:
    without_dracut = {"usr/lib/os-release": b"ID=test\n"} | MODULES
    repo, made, has_mark = related(tmp_path, without_dracut)
    assert (has_mark, repo.read(made, "usr/lib/modules/6.1/initramfs.img")) == (False, OLD)
    assert not related(tmp_path / "bare", COMMON)[2]
    assert not related(tmp_path / "unasked", COMMON | MODULES, mark="")[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="a deployment's files belong to root")
def test_libostree_itself_writes_another_kernel_for_it(tmp_path: Path) -> None:
    """`ostree admin deploy` of the candidate and its successor: two kernels in /boot, each named by its
    checksum.
    """
    userland = {"usr/etc/passwd": b"root:x:0:0::/:/bin/sh\n"}
    # what cannot be removed would stay behind
    environment = os.environ | {"OSTREE_SYSROOT_DEBUG": "mutable-deployments"}
    for number, files in enumerate((MODULES, LEGACY)):
        work = tmp_path / str(number)
        repo, made, _ = related(work, COMMON | userland | files)
        commit = repo.parent(made)
        assert commit is not None
        root = work / "sysroot"
        root.mkdir()
        subprocess.run(["ostree", "admin", "init-fs", root], check=True)
        subprocess.run(["ostree", "admin", f"--sysroot={root}", "os-init", "test"], check=True)
        deploy: list[str | Path] = [
            "ostree",
            "admin",
            f"--sysroot={root}",
            "deploy",
            "--os=test",
            "--karg=root=x",
        ]
        for release in (commit, made):
            subprocess.run(
                ["ostree", f"--repo={root}/ostree/repo", "pull-local", "--disable-fsync", repo.path, release],
                check=True,
            )
            subprocess.run([*deploy, release], check=True, env=environment)
        held = sorted(file.read_bytes() for file in root.glob("boot/ostree/*/initramfs-*"))
        assert held == sorted([OLD, initramfs.marked(OLD, "next")])
