"""What a tree's own program cannot do to the machine that builds: a real one is run, in the real sandboxes
of the ways that run it on this machine.

The toolbox is busybox and the build host's own setpriv; what the program tries is what an attacker would: the
first process' root, device nodes, a second chroot, modules, the host's name, mounts, signals, the network.
"""

import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from imagebuild.deploy import native, offline
from imagebuild.deploy.sandbox import NamespaceSandbox
from imagebuild.errors import BuildError
from imagebuild.tools import command

APPLETS = (
    "sh", "cat", "base64", "mkdir", "mknod", "chmod", "chown", "mount", "umount", "ln", "sleep", "nc", "ip",
    "chroot", "ls", "id", "touch", "setsid", "grep", "insmod", "hostname", "kill", "head", "true",
)  # fmt: skip
# says which attempts have succeeded; each is tried in a shell of its own
TRY = """
try() { name=$1; shift; if (eval "$*") >/dev/null 2>&1
then echo "DONE $name"; else echo "refused $name"; fi; }
"""
WAYS = {"native": native.native_target, "offline": offline.offline_target}


@pytest.fixture(scope="module")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A squashfs with busybox under the names that are asked for, and setpriv with its libraries."""
    place = tmp_path_factory.mktemp("toolbox")
    tree = place / "tree"
    for name in ("usr/bin", "dev", "run", "var", "sys", "proc", "sysroot", "tmp", "etc"):
        (tree / name).mkdir(parents=True)
    (tree / "bin").symlink_to("usr/bin")
    shutil.copy(command.require("busybox"), tree / "usr/bin/busybox")
    for applet in APPLETS:
        (tree / "usr/bin" / applet).symlink_to("busybox")
    # busybox' own env would prefer its own setpriv
    for program in ("env", "setpriv"):
        file = Path(command.require(program)).resolve()
        shutil.copy(file, tree / "usr/bin" / program)
        for library in re.findall(r"(/\S+) \(0x", command.run(["ldd", file])):
            target = tree / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(library).resolve(), target)
    image = place / "toolbox.squashfs"
    command.run(["mksquashfs", tree, image, "-quiet", "-no-progress", "-all-root"])
    return image


@pytest.fixture(scope="module", params=WAYS)
def sandbox(request: pytest.FixtureRequest, toolbox: Path) -> Iterator[NamespaceSandbox]:
    way = str(request.param)
    reason = native.unavailable() if way == "native" else offline.unavailable()
    if reason is not None:
        pytest.skip(f"{way}: {reason}")
    with WAYS[way](None, toolbox, None) as target:
        yield target


def attempts(sandbox: NamespaceSandbox, **tried: str) -> list[str]:
    """Return which attempts of a script with the privileges of %post have succeeded."""
    lines = "\n".join(f"try {name} '{text}'" for name, text in tried.items())
    sandbox.run_script(["sh", "-s"], f"({TRY}{lines}\n) > /run/said")
    said = sandbox.read(PurePosixPath("/run/said")).decode().splitlines()
    assert len(said) == len(tried), said
    return [line.partition(" ")[2] for line in said if line.startswith("DONE")]


def test_an_attempt_that_is_allowed_succeeds(sandbox: NamespaceSandbox) -> None:
    """Otherwise nothing below would say anything."""
    assert attempts(sandbox, own="touch /run/mine && chown 5:5 /run/mine && cat /etc/../run/mine") == ["own"]


def test_a_script_does_not_read_the_hosts_files(sandbox: NamespaceSandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary\n")
    tmp_path.chmod(0o755)
    assert not attempts(
        sandbox,
        root_of_the_first_process=f"cat /proc/1/root{secret}",
        its_directory="ls /proc/1/cwd/etc",
        its_memory="head -c 1 /proc/1/mem",
        its_environment="cat /proc/1/environ",
        plainly=f"cat {secret}",
        out_of_a_second_root=f"mkdir -p /run/r && chroot /run/r cat ../../../..{secret}",
        a_disk_of_the_host="mknod /run/disk b 254 0 && head -c 1 /run/disk",
        memory_of_the_host="mknod /run/mem c 1 1 && head -c 1 /run/mem",
        all_devices="mkdir -p /run/dev && mount -t devtmpfs x /run/dev && ls /run/dev/",
    )


def test_a_script_does_not_reach_the_network(sandbox: NamespaceSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not attempts(
            sandbox,
            the_hosts_loopback=f"nc -w 1 127.0.0.1 {port} </dev/null",
            an_address="nc -w 1 192.0.2.1 80 </dev/null",
            another_device="ip link add x type dummy",
            any_device_but_loopback="ip -o link | grep -v LOOPBACK | grep .",
        )


def test_a_script_gains_nothing(sandbox: NamespaceSandbox) -> None:
    assert not attempts(
        sandbox,
        a_mount="mkdir -p /run/m && mount -t tmpfs x /run/m",
        an_unmount="umount /run",
        a_file_with_more="cat /usr/bin/setpriv > /run/s; chmod 4755 /run/s; /run/s --inh-caps=+sys_boot true",
        a_setting_of_the_kernel="echo x > /proc/sys/kernel/core_pattern",
        a_request_to_the_kernel="echo h > /proc/sysrq-trigger",
        a_module="insmod /usr/bin/busybox",
        another_name="hostname gained",
        a_privilege_that_is_not_listed="grep CapEff /proc/self/status | grep -v 00000000a00000fb",
        more_by_a_program="grep NoNewPrivs:.0 /proc/self/status",
    )


def test_a_program_of_the_tree_does_not_reach_the_network_either(sandbox: NamespaceSandbox) -> None:
    """mkfs and GRUB, which have the privileges of a root in the namespaces."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(BuildError):
        sandbox.run(["nc", "-w", "1", "127.0.0.1", str(server.getsockname()[1])])


def test_a_program_that_stays_behind_ends_with_the_way(toolbox: Path) -> None:
    """It has a session of its own, and ignores what asks it to end."""
    for way, opened in WAYS.items():
        if (native if way == "native" else offline).unavailable() is not None:
            continue
        mark = f"600.{os.getpid()}{len(way)}"
        with opened(None, toolbox, None) as target:
            target.run_script(
                ["sh", "-s"], f"trap '' TERM HUP INT; setsid sleep {mark} </dev/null >/dev/null 2>&1 &"
            )
            assert sleeping(mark)
        until = time.monotonic() + 10
        while sleeping(mark) and time.monotonic() < until:
            time.sleep(0.05)
        assert not sleeping(mark), way


def sleeping(mark: str) -> bool:
    """Whether a process with that argument is there."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in file.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_a_script_writes_into_its_own_place_only(sandbox: NamespaceSandbox, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert not attempts(
        sandbox,
        the_host=f"touch /proc/1/root{tmp_path}/x || touch {tmp_path}/x",
        the_first_process="kill -9 1; ! kill -0 1",
    )
    assert not list(tmp_path.iterdir())
