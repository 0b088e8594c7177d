"""A host in namespaces of this machine instead of a guest, for tests of criteria: the installed system's own
systemd and sshd, at native speed. Never for a verdict: it has no firmware, boot loader, kernel or initramfs
of its own, its kernel's log and clock are the build machine's, and systemd knows that it is in a container.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagebuild.deploy.execute import deployment_of, kernel_arguments
from imagebuild.deploy.native import NativeTarget
from imagebuild.deploy.target import SYSROOT, File
from imagebuild.deploy.ways import WAYS
from imagebuild.kickstart.plan import Plan
from imagebuild.kinds import State
from imagebuild.model import Disk, Toolbox, Tree
from imagebuild.smoke.criteria import registry
from imagebuild.smoke.criterion import Asks, record_of
from imagebuild.smoke.host.errors import NotApplicableError, NotTestedError
from imagebuild.smoke.host.expected import Expected, Records
from imagebuild.smoke.host.words import Boot, Host
from imagebuild.smoke.hosts.registry import HOSTS
from imagebuild.smoke.seed import make_seed
from imagebuild.smoke.trial import Promise
from imagebuild.tools import command, ssh
from imagebuild.tools.qemu import disk_image
from imagebuild.tools.qemu.export import exported

SCRIPT = Path(__file__).with_name("namespaced.sh")
UP_SECONDS = 120.0
OWN = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
OTHER_MACHINES = ("f" * 32, "0123456789abcdef0123456789abcdef")
# what a fixture of the same name is in a guest's run
Given = dict[str, object]


@dataclass
class Relay:
    """A loopback port whose connections end at port 22 inside: `first` is the process that is 1 there."""

    first: int
    port: int = field(default_factory=ssh.free_port)

    @contextlib.contextmanager
    def open(self) -> Iterator[int]:
        """Accept connections until the block ends; yield the port."""
        with socket.create_server(("127.0.0.1", self.port)) as server, contextlib.ExitStack() as programs:
            threading.Thread(target=self._accept, args=(server, programs), daemon=True).start()
            yield self.port
            # who waits in accept() is not woken by close()
            server.shutdown(socket.SHUT_RDWR)

    def _accept(self, server: socket.socket, programs: contextlib.ExitStack) -> None:
        inside = ["nsenter", "--net", f"--target={self.first}", "busybox", "nc", "127.0.0.1", "22"]
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    ends = connection.fileno()
                    program = subprocess.Popen(inside, stdin=ends, stdout=ends, stderr=subprocess.DEVNULL)
                programs.callback(program.wait)
                programs.callback(program.kill)


@contextlib.contextmanager
def host_of(
    tree: Tree, toolbox: Toolbox, plan: Plan, disk: Disk, promise: Promise, script: str, place: Path
) -> Iterator[Given]:
    """Boot a copy of an installed disk that a script has changed ($S its root, $D the deployment); yield what
    criteria about the first boot are given.
    """
    file, (key, public_key) = place / "copy.qcow2", ssh.make_key(place)
    expected = Expected(
        promise=promise, hostname="smoke-bench", user=promise.terms.user, public_key=public_key,
        script_marker="imagebuild-bench",
    )  # fmt: skip
    disk_image.make_overlay(file, disk.file, disk.format)
    with (
        exported(file, "qcow2", writable=True) as raw,
        WAYS["native"].open(raw, toolbox.image, plan) as target,
    ):
        assert isinstance(target, NativeTarget)
        target.reopen(plan, read_only=False)
        deployment = deployment_of(plan, tree.commit)
        seed = deployment.parent.parent / "var/lib/cloud/seed/nocloud"
        make_seed(place, expected)
        target.write({seed / one.name: File(data=one.read_bytes()) for one in (place / "seed").iterdir()})
        target.run(["sh", "-euxc", f"S={SYSROOT}; D={deployment}; {script}"])
        arguments = f"root=LABEL=root {' '.join(kernel_arguments(plan))}"
        with _started(target, str(deployment), arguments) as first, Relay(first).open() as port:
            shell = ssh.Shell(user=expected.user, port=port, key=key)
            host = Host(transport=shell, commands=HOSTS[promise.host_kind].commands)
            try:
                _wait_until_up(shell, port)
                yield _given(host, expected)
            finally:
                shell.close()


@contextlib.contextmanager
def _started(target: NativeTarget, deployment: str, arguments: str) -> Iterator[int]:
    """Yield the process id, as seen from here, of the systemd that is started."""
    top = str(target._root)
    stateroot = deployment.rpartition("/deploy/")[0]
    group = Path(command.run(["findmnt", "-n", "-t", "cgroup2", "-o", "TARGET"]).split()[0])
    own = group / f"imagebuild-bench-{os.getpid()}"
    own.mkdir()
    enter = ["nsenter", f"--target={target._space._first}", *target._space._kinds]
    process = command.Process(
        ["sh", "-c", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", own, *enter, "unshare", *OWN,
         "--fork", "--kill-child", "--mount-proc=/proc", "sh", SCRIPT, top, deployment, stateroot, arguments],
    )  # fmt: skip
    try:
        first = _first_of(process, own)
        try:
            yield first
        finally:
            # with it goes everything in its namespace
            os.kill(first, signal.SIGKILL)
    finally:
        process.end(grace=0)
        _remove_group(own)


def _first_of(process: command.Process, group: Path) -> int:
    """Return the process of a group that is 1 in its own namespace and is systemd by now."""
    until = time.monotonic() + UP_SECONDS
    while time.monotonic() < until and process.alive:
        for number in (group / "init.scope" / "cgroup.procs", group / "cgroup.procs"):
            for pid in number.read_text().split() if number.exists() else ():
                with contextlib.suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    if "Name:\tsystemd\n" in status and "\t1\n" in status.partition("NSpid:")[2]:
                        return int(pid)
        time.sleep(0.05)
    raise AssertionError(f"systemd does not start: {process.output()}{process.complaint()}")


def _remove_group(group: Path) -> None:
    until = time.monotonic() + UP_SECONDS
    while group.exists():
        for one in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
            if one.is_dir():
                with contextlib.suppress(OSError):
                    one.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
        assert time.monotonic() < until, f"{group} has processes"
        time.sleep(0.05)


def _wait_until_up(shell: ssh.Shell, port: int) -> None:
    until = time.monotonic() + UP_SECONDS
    while not ssh.greets(port) or shell.run(["true"], timeout=30).status != 0:
        assert time.monotonic() < until, "nobody is let in by ssh"
        time.sleep(0.2)


def _given(host: Host, expected: Expected) -> Given:
    host.wait_for_the_boot()
    return {
        "host": host,
        "expected": expected,
        "boot": Boot(host=host, expected=expected, problem=None, phases={}),
        "records": Records(consoles="", journals=host.journal("-o", "short-monotonic")),
        "other_machine_ids": OTHER_MACHINES,
    }


def cells(given: Given, names: list[str]) -> dict[str, tuple[State, str]]:
    """Run criteria by name; return how each ended, and why."""
    functions = {
        record.name: member
        for module in registry.MODULES
        for member in vars(module).values()
        if (record := record_of(member)) is not None and record.asks is Asks.FIRST_BOOT
    }
    return {name: _cell(functions[name], given) for name in names}


def _cell(function: Callable[..., None], given: Given) -> tuple[State, str]:
    wanted = function.__code__.co_varnames[: function.__code__.co_argcount]
    try:
        function(**{name: given[name] for name in wanted})
    except NotApplicableError as error:
        return State.NOT_APPLICABLE, str(error)
    except NotTestedError as error:
        return State.NOT_TESTED, str(error)
    except AssertionError as error:
        return State.FAILED, str(error)
    return State.PASSED, ""
