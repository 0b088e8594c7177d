"""A deployment that is its commit, and every way in which it is not: by `ostree diff` itself, on real
repositories and directories.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import explained
from imagebuild.deploy.explained import ALLOWED
from imagebuild.deploy.target import Argv
from imagebuild.tools import command
from imagebuild.tools.ostree.repository import Repo
from tests.fake_sandbox import FakeSandbox

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and capabilities need root")


class Here(FakeSandbox):
    """Programs run on this machine: the script is what the toolbox's shell runs."""

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        output = ""
        for argv in commands:
            output = command.run([str(word) for word in argv], quiet=True)
        return output


@dataclass(frozen=True)
class Installed:
    """A commit and its deployment, as libostree lays it out."""

    repo: Repo
    commit: str
    root: Path
    boot: Path

    def problems(self) -> list[str]:
        places = PurePosixPath(self.root), PurePosixPath(self.boot)
        source = str(self.repo.path)
        return explained.problems(Here(), places[0], self.repo, self.commit, source=source, boot=places[1])


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    tree, root, boot = tmp_path / "tree", tmp_path / "deploy/0.0", tmp_path / "boot"
    kernels = tree / "usr/lib/modules/6.1"
    for directory in (kernels, tree / "usr/bin", tree / "usr/etc/ssh", tree / "var/lib", tree / "boot"):
        directory.mkdir(parents=True)
    for name in ("ping", "sh", "su"):
        (tree / "usr/bin" / name).write_text(f"the program {name}\n")
    (tree / "usr/bin/su").chmod(0o4755)
    (tree / "usr/bin/bash").symlink_to("sh")
    (tree / "usr/etc/ssh/sshd_config").write_text("UsePAM yes\n")
    (kernels / "vmlinuz").write_text("the kernel")
    (kernels / "initramfs.img").write_text("the initramfs")
    repo = Repo.ensure(tmp_path / "repo", "bare")
    commit = command.run(
        ["ostree", f"--repo={repo.path}", "commit", "--branch=a", f"--tree=dir={tree}"], quiet=True
    ).strip()
    root.parent.mkdir()
    command.run(["ostree", f"--repo={repo.path}", "checkout", "--force-copy", commit, root], quiet=True)
    shutil.copytree(root / "usr/etc", root / "etc", symlinks=True)
    (root / "etc/fstab").write_text("# of the plan\n")
    place = boot / "ostree/os-1"
    place.mkdir(parents=True)
    shutil.copy(kernels / "vmlinuz", place / "vmlinuz-6.1")
    shutil.copy(kernels / "initramfs.img", place / "initramfs-6.1.img")
    (place / ".vmlinuz-6.1.hmac").write_text("libostree writes the new name into it")
    return Installed(repo=repo, commit=commit, root=root, boot=boot)


def test_what_is_the_commit_has_no_problems(installed: Installed) -> None:
    assert installed.problems() == []


def capability(path: Path) -> None:
    # vfs_cap_data of revision 2: effective, permitted cap_net_raw (capabilities(7), linux/capability.h)
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda at: (at.root / "usr/bin/sh").write_text("the program xx\n"), "/usr/bin/sh {} content is an"),
        (lambda at: (at.root / "usr/bin/sh").chmod(0o4644), "/usr/bin/sh {} mode is 4644, not 0644"),
        (lambda at: (at.root / "usr/bin").chmod(0o777), "/usr/bin {} mode is 0777, not 0755"),
        (
            lambda at: os.setxattr(at.root / "usr/bin/sh", "user.note", b"1"),
            "/usr/bin/sh {} extended attributes (capabilities, labels) are others",
        ),
        (
            lambda at: os.setxattr(at.root / "usr/lib", "user.note", b"1"),
            "/usr/lib {} extended attributes (capabilities, labels) are others",
        ),
        (lambda at: (at.root / "usr/bin/new").write_text("x"), "/usr/bin/new is not in the commit"),
        (lambda at: (at.root / "data").mkdir(), "/data is not in the commit"),
        (lambda at: (at.root / "usr/bin/ping").unlink(), "/usr/bin/ping of the commit is missing"),
        (
            lambda at: (at.root / "usr/bin/one\n\x1b[2Jtwo").write_text("x"),
            "/usr/bin/one is not in the commit",
        ),
        (lambda at: shutil.copy("/bin/true", at.root / "usr/bin/\x1b[2J"), "/usr/bin/\\x1b[2J is not in the"),
        (lambda at: os.mkfifo(at.root / "etc/pipe"), "/etc/pipe is a device or pipe (p"),
        (
            lambda at: (at.root / "etc/ssh/sshd_config").chmod(0o4755),
            "/etc/ssh/sshd_config gives its owner's rights to whoever runs it (-rwsr-xr-x)",
        ),
        (
            lambda at: (at.boot / "ostree/os-1/initramfs-6.1.img").write_text("another"),
            "/boot/ostree/os-1/initramfs-6.1.img is not the commit's kernel or initramfs",
        ),
    ],
)
def test_every_damage_is_named(
    installed: Installed, damage: Callable[[Installed], object], said: str
) -> None:
    damage(installed)
    (problem,) = installed.problems()
    assert problem.startswith(said.replace("{}", "is not the commit's: its"))


def test_another_target_of_a_link(installed: Installed) -> None:
    link = installed.root / "usr/bin/bash"
    link.unlink()
    link.symlink_to("ping")
    (problem,) = installed.problems()
    assert "/usr/bin/bash is not the commit's: its target is another one" in problem


def test_another_type(installed: Installed) -> None:
    (installed.root / "usr/bin/ping").unlink()
    (installed.root / "usr/bin/ping").mkdir()
    assert installed.problems() == ["/usr/bin/ping is not the commit's: it is of another type"]


@needs_root
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: os.chown(path, 3, 4), "its owners are 3:4, not 0:0"),
        (capability, "its extended attributes (capabilities, labels) are others"),
    ],
)
def test_owners_and_capabilities(installed: Installed, damage: Callable[[Path], None], said: str) -> None:
    damage(installed.root / "usr/bin/ping")
    assert installed.problems() == [f"/usr/bin/ping is not the commit's: {said}"]


@needs_root
def test_a_device(installed: Installed) -> None:
    os.mknod(installed.boot / "memory", 0o20666, os.makedev(1, 1))
    assert installed.problems() == ["/boot/memory is a device or pipe (crw-r--r--)"]


def test_an_object_that_was_changed_through_its_link(installed: Installed, tmp_path: Path) -> None:
    """The disk's own repository would say that all is well: the file is its object."""
    own = Repo(shutil.copytree(installed.repo.path, tmp_path / "own", symlinks=True))
    root = tmp_path / "deploy/linked.0"
    command.run(
        ["ostree", f"--repo={own.path}", "checkout", "--require-hardlinks", installed.commit, root],
        quiet=True,
    )
    assert (root / "usr/bin/sh").stat().st_nlink > 1
    (root / "usr/bin/sh").write_text("the program xx\n")
    linked = Installed(repo=installed.repo, commit=installed.commit, root=root, boot=installed.boot)
    (root / "etc").mkdir()
    assert linked.problems() == ["/usr/bin/sh is not the commit's: its content is another one"]


def test_thousands_of_files_are_a_few_lines(installed: Installed) -> None:
    place = installed.root / "usr/many"
    place.mkdir()
    for number in range(3000):
        (place / f"{number}\n").touch()
    found = installed.problems()
    assert len(found) == explained.SHOWN + 1
    # the directory, and a file for every second line
    assert found[-1] == f"and {explained.MOST_LINES // 2 + 1 - explained.SHOWN} more"


@pytest.mark.parametrize(
    ("kind", "path"),
    [("A", "etc"), ("A", ".ostree.cfs"), ("D", "var/lib")],
)
def test_what_is_allowed(kind: str, path: str) -> None:
    """Each entry of the list for this path alone, and each has a reason."""
    assert explained.allowed(kind, path)
    assert not explained.allowed(kind, f"x/{path}")
    assert not explained.allowed("M", path)
    (entry,) = [one for one in ALLOWED if one.kind == kind and re.fullmatch(one.pattern, path)]
    assert entry.reason


def test_the_list_is_short_and_each_entry_is_tested() -> None:
    assert {(one.kind, one.pattern) for one in ALLOWED} == {
        ("A", "etc"),
        ("A", r"\.ostree\.cfs"),
        ("D", "var/.+"),
    }


def test_the_image_of_composefs_and_the_commits_var_are_no_problem(installed: Installed) -> None:
    (installed.root / ".ostree.cfs").write_bytes(b"")
    shutil.rmtree(installed.root / "var/lib")
    assert installed.problems() == []


def test_a_damaged_repository_is_said(installed: Installed) -> None:
    shutil.rmtree(installed.repo.path / "objects")
    done = subprocess.run(
        ["sh", "-c", explained.SCRIPT, "sh", installed.repo.path, installed.commit, installed.root,
         installed.boot, "10", "10"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert b"different" not in done.stdout
