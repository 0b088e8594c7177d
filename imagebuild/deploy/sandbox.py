"""A sandbox in namespaces of the build host: the toolbox is the root directory, and what could reach the host
is taken away.
"""

import base64
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from imagebuild.architectures.registry import ELF_HEAD, of_program
from imagebuild.deploy.target import Argv, File, environment, mount_proc, mount_tmp
from imagebuild.kickstart.plan import Plan
from imagebuild.tools import emulation
from imagebuild.tools.namespace import Namespace

# all that %pre and %post may do as root (capabilities(7)): own files, become their owners. Nothing that
# reaches devices, modules, mounts, files by handle, or out of a chroot
CAPABILITIES = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setfcap,+audit_write"
# one that every tree has
PROGRAM = "usr/bin/env"
DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


class NamespaceSandbox:
    """Programs run with the unpacked or mounted toolbox as their root directory."""

    def __init__(self, space: Namespace, root: Path, plan: Plan | None) -> None:
        self._space = space
        self._root = root
        self._environment = environment(plan)

    def run(self, *commands: Argv, env: Mapping[str, str] | None = None) -> str:
        """Run programs one after the other in the toolbox."""
        output = ""
        for argv in commands:
            output = self._space.run(
                [str(word) for word in argv], root=self._root, env={**self._environment, **(env or {})}
            )
        return output

    def run_script(self, argv: Argv, script: str, *, root: PurePosixPath | None = None) -> None:
        """Run a script in the toolbox or the installed system without the privileges that could reach the
        host.
        """
        inner = [
            "setpriv",
            f"--bounding-set={CAPABILITIES}",
            "--inh-caps=-all",
            "--no-new-privs",
            *[str(word) for word in argv],
        ]
        enter = ["chroot", str(root)] if root is not None else []
        self._space.run([*enter, *inner], root=self._root, stdin=script.encode(), env=self._environment)

    def write(self, files: Mapping[PurePosixPath, File]) -> None:
        """Write files through the namespace (the mounts are not visible from outside)."""
        for path, file in files.items():
            self.run(["mkdir", "-p", path.parent])
            self._space.run(
                ["sh", "-c", 'cat > "$1" && chmod "$2" "$1"', "sh", str(path), f"{file.mode:04o}"],
                root=self._root,
                stdin=file.data,
            )

    def read(self, path: PurePosixPath) -> bytes:
        """Return a file's content, passed through the toolbox's base64: what programs print is kept as
        text.
        """
        return base64.b64decode(self._space.run(["base64", str(path)], root=self._root, quiet=True))

    def make_node(self, device: Path) -> str:
        """Make a block device of this machine a device of the sandbox; return its path there."""
        number = device.stat().st_rdev
        inside = f"/dev/{device.name}"
        self._space.run(
            [
                "mknod",
                "-m",
                "0600",
                str(self._root) + inside,
                "b",
                str(os.major(number)),
                str(os.minor(number)),
            ]
        )
        return inside


def check_programs(space: Namespace, root: Path) -> None:
    """Raise BuildError when the toolbox below a root directory is of another architecture, and this machine
    has nothing that runs its programs.
    """
    # a toolbox without it is told of by whatever looks for a program first
    head = space.run(
        ["sh", "-c", 'head -c "$2" "$1" 2>/dev/null | base64', "sh", root / PROGRAM, str(ELF_HEAD)],
        quiet=True,
    )
    arch = of_program(base64.b64decode(head))
    if arch is not None:
        emulation.check(arch, "the tree's own programs, which make its disks,")


def mount_toolbox(space: Namespace, image: Path, root: Path) -> None:
    """Mount the toolbox (a device with its squashfs) as a root directory with a private /dev, /run, /var and
    /proc.
    """
    commands: list[list[str | Path]] = [
        ["mount", "-t", "squashfs", "-o", "ro", image, root],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "dev"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "run"],
        ["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", root / "var"],
        ["mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys"],
        ["mkdir", "-p", root / "run/lock/lvm", root / "var/tmp"],
        ["ln", "-s", "/proc/self/fd", root / "dev/fd"],
        [*mount_tmp(root / "tmp")],
    ]
    commands += [[str(word) for word in argv] for argv in mount_proc(root / "proc")]
    commands += [
        ["mknod", "-m", "0666", root / "dev" / name, "c", str(major), str(minor)]
        for name, (major, minor) in DEVICES.items()
    ]
    for argv in commands:
        space.run(argv)
